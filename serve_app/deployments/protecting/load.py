"""How many requests each model has: what would only wait is refused at once, while it costs nothing yet."""

from collections import Counter
from collections.abc import Mapping

from serve_app.config import AppConfig
from serve_app.deployments.observing.averages import Average
from serve_app.planning.queues import Queue, queue_of

LEAST_RETRY_S = 1.0
SHARE = 3
"""Permits that one API key may hold for each one that is free for others."""


class Load:
    """One deployment's requests in progress through this router, and how many it takes."""

    def __init__(self, queue: Queue) -> None:
        self.slots = queue.slots
        self.most = queue.slots + queue.waiting
        self.in_progress = 0
        self.by_key: Counter[str | None] = Counter()
        self._seconds = Average()

    @property
    def full(self) -> bool:
        """Return whether another request would be one too many."""
        return self.in_progress >= self.most

    def full_for(self, key: str | None) -> bool:
        """Return whether another request would be one too many, or none that would wait may come by this API key.

        A key may hold `SHARE` times as many permits as it leaves free (dynamic thresholds: Choudhury and Hahne,
        "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2),
        1998). So a key that holds permits never takes the last one, and the more keys there are, the less each may
        hold.
        """
        if self.full or key is None or self.in_progress < self.slots or not self.by_key[key]:
            return self.full
        return self.by_key[key] + 1 > SHARE * (self.most - self.in_progress - 1)

    def has_slots(self, count: int) -> bool:
        """Return whether so many more requests would begin at once."""
        return self.in_progress + count <= self.slots

    @property
    def pressure(self) -> float:
        """Return the taken share of the queue, 0 to 1; without a queue 1 if all slots are taken."""
        if self.most == self.slots:
            return float(self.full)
        return min(1.0, max(0, self.in_progress - self.slots) / (self.most - self.slots))

    @property
    def retry_after_s(self) -> float:
        """Return the seconds until the waiting requests should have begun, by the mean time of answers; at least 1."""
        waiting = max(0, self.in_progress - self.slots)
        return max(LEAST_RETRY_S, self._seconds.value * (waiting + 1) / self.slots)

    def acquire(self, key: str | None = None) -> "Permit":
        """Count one request more, by this API key, until its permit is released."""
        permit = Permit(self, key)
        permit.acquire()
        return permit

    def answered(self, seconds: float) -> None:
        """Observe the seconds that an answer took, without waiting."""
        self._seconds.observe(seconds)


class Permit:
    """One request's permit to work or wait at a model, by the name of its API key.

    It may be acquired or released twice, which counts once.
    """

    def __init__(self, load: Load, key: str | None = None) -> None:
        self._load = load
        self.key = key
        self.is_held = False

    def acquire(self) -> None:
        """Count the request, even if the model is full."""
        self._count(not self.is_held)
        self.is_held = True

    def release(self) -> None:
        """Count the request no longer."""
        self._count(-self.is_held)
        self.is_held = False

    def _count(self, change: int) -> None:
        self._load.in_progress += change
        self._load.by_key[self.key] += change
        if not self._load.by_key[self.key]:
            del self._load.by_key[self.key]  # keys come and go


def loads(config: AppConfig) -> dict[str, Load]:
    """Return a load for every deployed model, as one of the router's replicas counts it."""
    routers = config.deployments()["Router"].most_replicas
    return {name: Load(queue_of(config, name, routers)) for name in config.deployed()}


def fullest(loads: Mapping[str, Load], key: str | None = None) -> str | None:
    """Return the name of the load with the longest time to wait among those that are full for an API key, or None."""
    full = {name: load.retry_after_s for name, load in loads.items() if load.full_for(key)}
    return max(full, key=full.__getitem__, default=None)
