"""The expected load of later tiers' models, as a router replica reports it to the policy that scales them."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from serve_app.deployments.observing.averages import Average, Rate


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
