"""Cascades of more than two tiers: the Pareto front over all thresholds and signals."""

from collections.abc import Iterator

from serve_app.evaluation import plain
from serve_app.evaluation.choose import choose
from serve_app.evaluation.pareto import RecordedTarget, RecordedTier
from serve_app.evaluation.plain import Body
from serve_app.evaluation.policies import Candidate, semantic
from serve_app.evaluation.setup import Setup


def front(setup: Setup) -> Body:
    """Chosen on the fit examples, reported on the test examples; costs as shares of the target's, cheapest first.

    A point's `signal` is that of all tiers, None for the target alone.
    """
    unit = setup.unit(setup.tiers[:-1])
    cost = setup.target_cost[unit]
    target = RecordedTarget(setup.quality(setup.target), cost)
    alone = float(cost[setup.test].mean())
    points = [
        {
            "signal": choice.cascade,
            "thresholds": plain.numbers(choice.held_out.thresholds),
            "cost": plain.number(choice.held_out.cost / alone),
            "quality": plain.number(choice.held_out.quality),
            "rate": plain.number(choice.held_out.deferred),
            "quality_when_chosen": plain.number(choice.chosen.quality),
        }
        for choice in choose(_cascades(setup, unit), target, (setup.fit, setup.test))
    ]
    return {"unit": unit, "points": points}


def _cascades(setup: Setup, unit: str) -> Iterator[tuple[str, list[RecordedTier]]]:
    """All tiers under the same signal."""
    found = [
        {c.tier.signal or "": c for c in semantic(setup.material, tier, setup.group.index) if c.kind == "semantic"}
        for tier in setup.tiers[:-1]
    ]
    for signal in found[0]:
        if all(signal in tier for tier in found):
            yield signal, [recorded(setup, tier[signal], unit) for tier in found]


def recorded(setup: Setup, candidate: Candidate, unit: str) -> RecordedTier:
    """A candidate as the math of thresholds takes it."""
    return RecordedTier(candidate.judged.scores, setup.kept(candidate), setup.tier_cost(candidate.tier)[unit])
