"""Replicas by load: every deployment by its own requests, a later tier's model also by those on their way to it.

Ray Serve's controller calls `deferral_policy`, an autoscaling policy of the whole application; it gets this module by
value, so nothing of ours is imported here.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

EXPECTED = "expected_ongoing:"
"""Before a model's name: the figure by which a router replica tells the policy what that model will have to do."""
NEGLIGIBLE = 0.1
"""Expected work below this share of one replica neither wakes a sleeping model nor keeps it awake."""
RATE_S = 10.0
"""Time constant, in seconds, of the moving arrival rates."""
MEMORY = 100
"""Observations that a moving average goes back, about."""


def replicas_needed(ongoing: float, expected: float, per_replica: float) -> int:
    """Replicas for the requests that are in flight or queued, and for those expected to be in flight soon.

    `expected` requests in flight follow from Little's law: arrivals a second at the first tier, times the share of
    them that gets as far as this model, times the seconds it takes for one. In a steady state both figures are the
    same; when arrivals rise, `expected` rises first. `per_replica` is how many one replica should have.
    """
    expected = expected if expected >= NEGLIGIBLE * per_replica else 0.0
    return math.ceil(max(ongoing, expected) / per_replica)


def deferral_policy(contexts: Mapping[Any, Any]) -> tuple[dict[Any, int], dict[Any, dict[str, Any]]]:
    """Ray Serve's application-level policy: an `AutoscalingContext` for each deployment that scales -> its replicas.

    Serve applies bounds, delays and factors of each deployment's `autoscaling_config` to what is returned.
    """
    expected = _expected(contexts)
    targets = {}
    for deployment, context in contexts.items():
        replicas = replicas_needed(
            context.total_num_requests,
            expected.get(context.deployment_name, 0.0),
            context.config.get_target_ongoing_requests(),
        )
        # As in Serve's own policy: what has been ordered and has not started yet is not taken back.
        starting = context.target_num_replicas if context.current_num_replicas == 0 else 0
        targets[deployment] = max(replicas, starting)
    return targets, {}


def _expected(contexts: Mapping[Any, Any]) -> dict[str, float]:
    """Return the last reports of the router replicas, summed by model."""
    expected: dict[str, float] = defaultdict(float)
    for context in contexts.values():
        for metric, series_by_replica in (context.raw_metrics or {}).items():
            if metric.startswith(EXPECTED):
                last = [series[-1].value for series in series_by_replica.values() if series]
                expected[metric.removeprefix(EXPECTED)] += sum(last)
    return expected


class Average:
    """A mean that becomes a moving one after `MEMORY` observations; it may begin with some that represent a guess."""

    def __init__(self, value: float = 0.0, count: int = 0) -> None:
        self.value = value
        self._count = count

    def observe(self, seen: float) -> None:
        self._count = min(self._count + 1, MEMORY)
        self.value += (seen - self.value) / self._count


class Rate:
    """Events a second, as an exponentially weighted average over about the last `RATE_S` seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._value = 0.0
        self._at = clock()

    def count(self) -> None:
        self._value = self.value() + 1 / RATE_S
        self._at = self._clock()

    def value(self) -> float:
        return self._value * math.exp((self._at - self._clock()) / RATE_S)


class Demand:
    """The expected load of later tiers' models, as one router replica sees it.

    `ids` maps each id that clients may request to the models of its tiers, in order.
    """

    def __init__(self, ids: Mapping[str, Sequence[Sequence[str]]], clock: Callable[[], float] = monotonic) -> None:
        self._tiers = ids
        self._arrivals = {id_: Rate(clock) for id_ in ids}
        # Laplace's rule: before the first observation, one of two requests is deferred.
        self._reached = {id_: [Average(0.5, 2) for _ in tiers[1:]] for id_, tiers in ids.items()}
        self._seconds = {model: Average() for tiers in ids.values() for tier in tiers[1:] for model in tier}

    def arrived(self, id_: str) -> None:
        """Count a request for this id."""
        self._arrivals[id_].count()

    def finished(self, id_: str, tiers: int) -> None:
        """Observe how many of its tiers a request for this id reached."""
        for number, share in enumerate(self._reached[id_], 2):
            share.observe(tiers >= number)

    def answered(self, model: str, seconds: float) -> None:
        """Observe the seconds that a model took for one request, without queueing."""
        if model in self._seconds:
            self._seconds[model].observe(seconds)

    def expected(self) -> dict[str, float]:
        """Return the requests that will be in flight at each model of a later tier, by Little's law."""
        rates = dict.fromkeys(self._seconds, 0.0)
        for id_, tiers in self._tiers.items():
            arrivals = self._arrivals[id_].value()
            for share, models in zip([1.0, *(average.value for average in self._reached[id_])], tiers, strict=True):
                for model in models:
                    if model in rates:
                        rates[model] += arrivals * share
        return {model: rate * self._seconds[model].value for model, rate in rates.items()}
