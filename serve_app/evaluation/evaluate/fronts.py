"""Cascades of more than two tiers: the Pareto front over all thresholds and signals."""

from collections.abc import Iterator
from dataclasses import dataclass

from serve_app.core.types.policy import Tier
from serve_app.evaluation.analysis.candidates import Candidate, as_configured, semantic
from serve_app.evaluation.analysis.cascade_view import CascadeView, models_alone, recorded
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.json_values import Result
from serve_app.evaluation.statistics.accepted import share_of
from serve_app.evaluation.statistics.bootstrap import Interval
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier
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
    rate: float | None
    """The share of requests that the first tier defers; None of a model alone."""
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
    target_cost = float(target.cost[view.test].mean())
    choices: list[Choice[str | Alone]] = choose(_cascades(view, unit), alone.items(), (view.fit, view.test))
    points = (
        FrontPoint(
            signal=None if isinstance(choice.cascade, Alone) else choice.cascade,
            alone=choice.cascade.model if isinstance(choice.cascade, Alone) else None,
            thresholds=choice.held_out.thresholds,
            cost=choice.held_out.cost / target_cost,
            quality=choice.held_out.quality,
            rate=None if isinstance(choice.cascade, Alone) else choice.held_out.deferred,
            worse=share_of((choice.outcome.quality < quality)[choice.outcome.accepted]),
            quality_when_chosen=choice.chosen.quality,
        )
        for choice in choices
    )
    return ParetoFront(unit, tuple(points))


def _cascades(view: CascadeView, unit: Unit) -> Iterator[tuple[str, list[RecordedTier], RecordedTarget]]:
    """Yield the ways to score the tiers, by the names of their signals, whose cost is known in that unit."""
    for candidates in _scored(view):
        costs = view.tier_costs([candidate.tier for candidate in candidates]).get(unit)
        if costs is not None:
            names = [candidate.tier.signal or "" for candidate in candidates]
            yield names[0] if len(set(names)) == 1 else " -> ".join(names), *recorded(view, candidates, costs)


def _scored(view: CascadeView) -> Iterator[list[Candidate]]:
    """Yield all tiers under each signal, then under the config's, if they differ and are all evaluated.

    A tier of one member, which has none to agree with, keeps the config's signal.
    """
    tiers = view.tiers[:-1]
    compared = {number: _by_signal(view, tier) for number, tier in enumerate(tiers) if len(tier.models) > 1}
    alone = {
        number: as_configured(view.dataset, tier, view.group.index)
        for number, tier in enumerate(tiers)
        if number not in compared
    }
    first = next(iter(compared.values()), None)
    for signal in [None] if first is None else first:
        if all(signal in by_signal for by_signal in compared.values()):
            under = {number: by_signal[signal] for number, by_signal in compared.items()} | alone
            yield [under[number] for number in range(len(tiers))]
    names = {tiers[number].signal for number in compared}
    if len(names) > 1 and names <= view.dataset.signals.keys():
        yield [
            alone.get(number) or as_configured(view.dataset, tier, view.group.index)
            for number, tier in enumerate(tiers)
        ]


def _by_signal(view: CascadeView, tier: Tier) -> dict[str | None, Candidate]:
    """Return a tier of several members under each signal, with the config's policy."""
    candidates = semantic(view.dataset, tier, view.group.index)
    return {
        candidate.tier.signal: candidate
        for candidate in candidates
        if candidate.kind == "semantic" and candidate.tier.agreement == tier.agreement
    }
