"""Cascades of more than two tiers: the Pareto front over all thresholds and signals."""

from collections.abc import Iterator
from dataclasses import dataclass

from serve_app.core.types import Tier
from serve_app.evaluation.analysis.candidates import Candidate, semantic
from serve_app.evaluation.analysis.cascade_view import CascadeView, models_alone, recorded
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.json_values import Result
from serve_app.evaluation.statistics.accepted import share_of
from serve_app.evaluation.statistics.bootstrap import Interval
from serve_app.evaluation.statistics.pareto import RecordedTier
from serve_app.evaluation.statistics.search import Alone, Choice, choose


@dataclass(frozen=True, slots=True)
class FrontPoint(Result):
    """A vector of thresholds on the Pareto front, by `signal`, or a model `alone`, without thresholds."""

    signal: str | None
    alone: str | None
    thresholds: tuple[float, ...]
    cost: float
    """As a share of the target's."""
    quality: float
    rate: float
    worse: Interval | None
    """The share of answers accepted by any tier that are below the target's quality, with its exact interval."""
    quality_when_chosen: float


@dataclass(frozen=True, slots=True)
class ParetoFront(Result):
    """A cascade of more than two tiers: the cascades worth having, cheapest first."""

    unit: Unit
    points: tuple[FrontPoint, ...]


def front(view: CascadeView) -> ParetoFront:
    """Return the Pareto front, chosen on the fit examples and reported on the test examples.

    Costs are shares of the target's, cheapest first. A point's signal is that of all tiers, or of one after another;
    a model alone has none.
    """
    unit = view.unit(view.tiers[:-1])
    alone = models_alone(view, unit)
    target = alone[Alone(view.target)]
    quality = target.quality[view.test]
    spent = float(target.cost[view.test].mean())
    choices: list[Choice[str | Alone]] = choose(_cascades(view, unit), alone.items(), target, (view.fit, view.test))
    points = (
        FrontPoint(
            signal=None if isinstance(choice.cascade, Alone) else choice.cascade,
            alone=choice.cascade.model if isinstance(choice.cascade, Alone) else None,
            thresholds=choice.held_out.thresholds,
            cost=choice.held_out.cost / spent,
            quality=choice.held_out.quality,
            rate=choice.held_out.deferred,
            worse=share_of((choice.outcome.quality < quality)[choice.outcome.accepted]),
            quality_when_chosen=choice.chosen.quality,
        )
        for choice in choices
    )
    return ParetoFront(unit, tuple(points))


def _cascades(view: CascadeView, unit: Unit) -> Iterator[tuple[str, list[RecordedTier]]]:
    """Yield all tiers under each signal; a tier of one member, which has none to agree with, keeps the config's.

    Signals whose cost is unknown in that unit are left out.
    """
    index = view.group.index
    alone = {tier.models: _alone(view, tier) for tier in view.tiers[:-1] if len(tier.models) == 1}
    compared = {
        tier.models: {
            candidate.tier.signal: candidate
            for candidate in semantic(view.dataset, tier, index)
            if candidate.kind == "semantic" and candidate.tier.agreement == tier.agreement
        }
        for tier in view.tiers[:-1]
        if tier.models not in alone
    }
    shared = [by_signal.keys() for by_signal in compared.values()]
    for signal in shared[0] if shared else [None]:
        if all(signal in signals for signals in shared):
            under = {models: by_signal[signal] for models, by_signal in compared.items()} | alone
            tiers = [under[tier.models] for tier in view.tiers[:-1]]
            if not all(unit in view.tier_cost(candidate.tier) for candidate in tiers):
                continue
            names = [candidate.tier.signal or "" for candidate in tiers]
            yield (
                names[0] if len(set(names)) == 1 else " -> ".join(names),
                [recorded(view, candidate, unit) for candidate in tiers],
            )


def _alone(view: CascadeView, tier: Tier) -> Candidate:
    assert tier.signal is not None
    chow = view.dataset.config.confidence_of(tier.signal)
    return Candidate("semantic", view.dataset.replay.score(tier, chow, view.group.index), chow)
