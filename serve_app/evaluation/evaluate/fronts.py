"""Cascades of more than two tiers: the Pareto front over all thresholds and signals."""

from collections.abc import Iterator

from serve_app.core.types import Tier
from serve_app.evaluation.analysis import json_values as plain
from serve_app.evaluation.analysis.candidates import Candidate, semantic
from serve_app.evaluation.analysis.cascade_view import CascadeView, recorded
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier
from serve_app.evaluation.statistics.search import choose


def front(view: CascadeView) -> Body:
    """Selection on the fit examples, reported on the test examples; costs as shares of the target's, cheapest first.

    A point's `signal` is that of all tiers, or of one after another; it is None for the target alone.
    """
    unit = view.unit(view.tiers[:-1])
    cost = view.target_cost[unit]
    target = RecordedTarget(view.quality(view.target), cost)
    alone = float(cost[view.test].mean())
    points = [
        {
            "signal": choice.cascade,
            "thresholds": plain.numbers(choice.held_out.thresholds),
            "cost": plain.number(choice.held_out.cost / alone),
            "quality": plain.number(choice.held_out.quality),
            "rate": plain.number(choice.held_out.deferred),
            "quality_when_chosen": plain.number(choice.chosen.quality),
        }
        for choice in choose(_cascades(view, unit), target, (view.fit, view.test))
    ]
    return {"unit": unit, "points": points}


def _cascades(view: CascadeView, unit: Unit) -> Iterator[tuple[str, list[RecordedTier]]]:
    """All tiers under the same signal; but those of one member, which has none to agree with, under the config's.

    Without signals whose cost is not known in that unit.
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
    shared = [found.keys() for found in compared.values()]
    for signal in shared[0] if shared else [None]:
        if all(signal in found for found in shared):
            under = {models: found[signal] for models, found in compared.items()} | alone
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
