"""Values that are kept in memory for a while, within limits of their number, their bytes and their age."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """How many values are kept, how many bytes in all, and for how many seconds; no entries: none is kept."""

    entries: int
    bytes: int
    ttl_s: float


class BoundedStore(Generic[K, V]):
    """Keeps the newest values within its limits. `clock` returns seconds."""

    def __init__(self, limits: StoreLimits, clock: Callable[[], float] = monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._bytes = 0
        # By age, since all live equally long: when it was put, its size, and the value.
        self._entries: OrderedDict[K, tuple[float, int, V]] = OrderedDict()

    def put(self, key: K, value: V, size: int) -> bool:
        """Keep a value of `size` bytes and drop the oldest beyond the limits.

        Return False, and keep nothing under the key, if it is larger than all of them.
        """
        self.delete(key)
        if size > self.limits.bytes or not self.limits.entries:
            return False
        self._entries[key] = (self._clock(), size, value)
        self._bytes += size
        while len(self._entries) > self.limits.entries or self._bytes > self.limits.bytes:
            self._drop_oldest()
        return True

    def get(self, key: K) -> V | None:
        """Return a value, or None if there is none (any longer)."""
        self._drop_expired()
        entry = self._entries.get(key)
        return None if entry is None else entry[2]

    def age_s(self, key: K) -> float | None:
        """Return how many seconds ago a value was put, or None if there is none (any longer)."""
        self._drop_expired()
        entry = self._entries.get(key)
        return None if entry is None else self._clock() - entry[0]

    def delete(self, key: K) -> bool:
        """Forget a value, and return whether it was kept."""
        self._drop_expired()
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._bytes -= entry[1]
        return True

    def _drop_expired(self) -> None:
        oldest = self._clock() - self.limits.ttl_s
        while self._entries and next(iter(self._entries.values()))[0] <= oldest:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (_, size, _) = self._entries.popitem(last=False)
        self._bytes -= size
