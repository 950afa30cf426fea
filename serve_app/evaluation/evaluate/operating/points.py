"""A cascade's operating points: as it usually decides, under pressure, and while its scorer is away.

Each is the same tiers under another policy, as a server makes them of its config; the decision core itself decides the
recorded answers by it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.core.deciding.deferral import standing_in
from serve_app.core.deciding.shedding import shed_tiers
from serve_app.core.types.policy import Tier
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.json_values import Result
from serve_app.evaluation.statistics.bootstrap import Interval, Resampled, Statistic, bootstrap, mean_of
from serve_app.evaluation.statistics.curves import Floats
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier, outcome


@dataclass(frozen=True, slots=True)
class OperatingPoint(Result):
    """A policy on the test examples.

    `thresholds`: of each tier but the target, None of one that accepts any answer, or none; `passed_on`: the share of
    all requests that goes beyond each of them; `cost`: by unit, as a share of the target's mean; `less_usual` and
    `cost_less_usual`: the differences to the usual policy, paired.
    """

    name: str
    signals: tuple[str | None, ...]
    thresholds: tuple[float | None, ...]
    passed_on: tuple[Interval, ...]
    quality: Interval
    less_usual: Interval
    cost: Mapping[Unit, Interval]
    cost_less_usual: Mapping[Unit, Interval]


@dataclass(frozen=True, slots=True, eq=False)
class _Policy:
    """What a policy does on the n examples, (n,) each: who goes beyond each tier, qualities, and costs by unit."""

    name: str
    tiers: tuple[Tier | None, ...]
    passed_on: Sequence[Floats]
    quality: Floats
    costs: Mapping[Unit, Floats]


def operating_points(view: CascadeView) -> tuple[OperatingPoint, ...]:
    """Return the operating points of a cascade with `shed` or `on_scorer_failure`, the usual one first; else none."""
    policies = [_judged(view, name, tiers) for name, tiers in _policies(view)]
    if len(policies) < 2:
        return ()
    statistics: dict[tuple[str, int], Statistic] = {}
    for k, policy in enumerate(policies):
        columns = {f"beyond {number}": column for number, column in enumerate(policy.passed_on)}
        columns |= {unit: cost / view.target_cost[unit][view.test].mean() for unit, cost in policy.costs.items()}
        columns["quality"] = policy.quality
        statistics |= {(name, k): mean_of(column[view.test]) for name, column in columns.items()}
    options = view.dataset.options
    resampled = bootstrap(statistics, len(view.test), resamples=options.resamples, seed=options.seed)
    return tuple(_point(k, policy, resampled) for k, policy in enumerate(policies))


def _point(k: int, policy: _Policy, resampled: Resampled[tuple[str, int]]) -> OperatingPoint:
    return OperatingPoint(
        name=policy.name,
        signals=tuple(None if tier is None else tier.signal for tier in policy.tiers),
        thresholds=tuple(None if tier is None or tier.accepts_any else tier.threshold for tier in policy.tiers),
        passed_on=tuple(resampled.interval((f"beyond {number}", k)) for number in range(len(policy.passed_on))),
        quality=resampled.interval(("quality", k)),
        less_usual=resampled.difference(("quality", k), ("quality", 0)),
        cost={unit: resampled.interval((unit, k)) for unit in policy.costs},
        cost_less_usual={unit: resampled.difference((unit, k), (unit, 0)) for unit in policy.costs},
    )


def _policies(view: CascadeView) -> Iterator[tuple[str, tuple[Tier | None, ...]]]:
    """Yield each policy's name and its tiers but the target; None stands for a tier that defers everything."""
    shed, tiers = view.dataset.config.cascades[view.id].shed, view.tiers
    yield "usual", tiers[:-1]
    if shed is not None:
        if (lower := shed_tiers(tiers, "thresholds", shed.thresholds)) is not None:
            yield "shed by thresholds", lower[:-1]
        anything = shed_tiers(tiers, "members")
        assert anything is not None
        yield "shed by members", anything[:-1]
    if any(tier.stand_in is not None for tier in tiers):
        lexical = view.dataset.config.lexical()
        usual = [tier if tier.token_level or tier.signal in lexical else None for tier in tiers[:-1]]
        yield "scorer away", tuple(standing_in(tier) or own for tier, own in zip(tiers, usual, strict=False))


def _judged(view: CascadeView, name: str, tiers: tuple[Tier | None, ...]) -> _Policy:
    nothing = np.zeros(len(view.dataset))
    decided = [_decided(view, tier) for tier in tiers]
    beyond, left = [], np.ones(len(view.dataset), dtype=np.bool_)
    for scores, _ in decided:
        left = left & np.isnan(scores)
        beyond.append(left.astype(np.float64))
    paid = view.tier_costs([tier or usual for tier, usual in zip(tiers, view.tiers, strict=False)])

    def run(costs: Sequence[Floats]) -> tuple[Floats, Floats]:
        recorded = [RecordedTier(*both, cost) for both, cost in zip(decided, costs, strict=False)]
        ended = outcome(recorded, RecordedTarget(view.quality(view.target), costs[-1]), [0.0] * len(recorded))
        return ended.quality, ended.cost

    return _Policy(
        name,
        tiers,
        beyond,
        run([nothing] * len(view.tiers))[0],
        {unit: run(costs)[1] for unit, costs in paid.items()},
    )


def _decided(view: CascadeView, tier: Tier | None) -> tuple[Floats, Floats]:
    """Return which examples a tier accepts, 1 or else NaN, and the quality of its selected answers, (n,) each."""
    accepted, quality = np.full(len(view.dataset), np.nan), np.zeros(len(view.dataset))
    if tier is None:
        return accepted, quality
    assert tier.signal is not None
    config, index = view.dataset.config, view.group.index
    members = view.qualities(tier.models)
    decisions = view.dataset.replay.decisions(tier, config.confidence_of(tier.signal), index)
    for k, decision in zip(index, decisions, strict=True):
        if decision.selected is not None:
            quality[k] = members[decision.selected, k]
            accepted[k] = 1.0 if decision.accepted else np.nan
    return accepted, quality
