"""The expected load of later tiers' models, as a router replica reports it to the policy that scales them."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from serve_app.core.deciding.carried import newly_asked
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Generation
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.policy import Tier
from serve_app.deployments.observing.averages import Average, Rate


class Demand:
    """The expected load of later tiers' models, as one router replica sees it.

    `ids` maps each id that clients may request to its tiers, in order; `served_by` returns a model's deployment, which
    the loads are of.
    """

    def __init__(
        self,
        ids: Mapping[str, Sequence[Tier]],
        served_by: Callable[[str], str],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._served_by = served_by
        self._tiers = {id_: [[*map(served_by, models)] for models in _new(tiers)] for id_, tiers in ids.items()}
        self._arrivals = {id_: Rate(clock) for id_ in ids}
        # Laplace's rule: before the first observation, one of two requests is deferred.
        self._reached = {id_: [Average(0.5, 2) for _ in tiers[1:]] for id_, tiers in ids.items()}
        self._seconds = {name: Average() for tiers in self._tiers.values() for tier in tiers[1:] for name in tier}

    def arrived(self, id_: str) -> None:
        """Count a request for this id."""
        self._arrivals[id_].count()

    def ended(self, id_: str, run: Run, outcome: Outcome | None) -> None:
        """Observe a request for this id: how long its models took, and how many tiers it reached if it was answered."""
        for call in run.calls:
            if isinstance(call.answer, Generation):
                self.answered(self._served_by(call.model), call.answer.latency_s)
        if outcome is not None and outcome.cached is None:
            self.finished(id_, len(run.tiers) if run.escalated else _tiers_begun(run))

    def answered(self, deployment: str, seconds: float) -> None:
        """Observe the seconds that a deployment took for one request, without queueing."""
        if deployment in self._seconds:
            self._seconds[deployment].observe(seconds)

    def finished(self, id_: str, tiers: int) -> None:
        """Observe how many of its tiers a request for this id reached."""
        for number, share in enumerate(self._reached[id_], 2):
            share.observe(tiers >= number)

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


def _new(tiers: Sequence[Tier]) -> list[tuple[str, ...]]:
    """Return for each tier the models that none before it asks."""
    return newly_asked([tier.models for tier in tiers])


def _tiers_begun(run: Run) -> int:
    """Return how many tiers have called a model, ahead of their turn or in it."""
    called = {call.model for call in run.calls}
    return max((number for number, names in enumerate(_new(run.tiers), 1) if called.intersection(names)), default=1)
