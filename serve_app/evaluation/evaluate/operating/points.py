"""A cascade's operating points: as it usually decides, under pressure, and while its scorer is away.

Each is the same tiers under another policy, as a server makes them of its config; the decision core itself decides the
recorded answers by it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serve_app.core.deciding.shedding import shed_tiers
from serve_app.core.types.policy import Tier
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.json_values import Result
from serve_app.evaluation.evaluate.operating.scorer_away import Rule, without_scorer
from serve_app.evaluation.statistics.bootstrap import Interval, Resampled, Statistic, bootstrap, mean_of
from serve_app.evaluation.statistics.curves import Floats
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier, outcome

TierRules = Sequence[Rule]
"""How one tier decides; it defers the examples that no rule is for."""


@dataclass(frozen=True, slots=True)
class AppliedRule(Result):
    """A signal and threshold that a tier decides by; None: it accepts any answer.

    `share`: of the test examples that it is for; the tier defers those that no rule is for.
    """

    signal: str | None
    threshold: float | None
    share: float


@dataclass(frozen=True, slots=True)
class OperatingPoint(Result):
    """A policy on the test examples.

    `rules`: of each tier but the target; `passed_on`: the share of all requests that goes beyond each of them; `cost`:
    by unit, as a share of the target's mean; `less_usual` and `cost_less_usual`: the differences to the usual policy,
    paired.
    """

    name: str
    rules: tuple[tuple[AppliedRule, ...], ...]
    passed_on: tuple[Interval, ...]
    quality: Interval
    less_usual: Interval
    cost: Mapping[Unit, Interval]
    cost_less_usual: Mapping[Unit, Interval]


@dataclass(frozen=True, slots=True, eq=False)
class _Policy:
    """What a policy does on the n examples, (n,) each: which go beyond each tier, qualities, and costs by unit."""

    name: str
    tiers: Sequence[TierRules]
    passed_on: Sequence[Floats]
    quality: Floats
    costs: Mapping[Unit, Floats]


def operating_points(view: CascadeView) -> tuple[OperatingPoint, ...]:
    """Return the operating points of a cascade with `shed` or `on_scorer_failure`, the usual one first; else none."""
    policies = [_judged(view, name, tiers) for name, tiers in _policies(view)]
    if len(policies) < 2:
        return ()
    units = [unit for unit in policies[0].costs if all(unit in policy.costs for policy in policies)]
    statistics: dict[tuple[str, int], Statistic] = {}
    for k, policy in enumerate(policies):
        columns = {f"beyond {number}": column for number, column in enumerate(policy.passed_on)}
        columns |= {unit: policy.costs[unit] / view.target_cost[unit][view.test].mean() for unit in units}
        columns["quality"] = policy.quality
        statistics |= {(name, k): mean_of(column[view.test]) for name, column in columns.items()}
    options = view.dataset.options
    resampled = bootstrap(statistics, len(view.test), resamples=options.resamples, seed=options.seed)
    return tuple(_point(view, k, policy, units, resampled) for k, policy in enumerate(policies))


def _point(
    view: CascadeView, k: int, policy: _Policy, units: Sequence[Unit], resampled: Resampled[tuple[str, int]]
) -> OperatingPoint:
    return OperatingPoint(
        name=policy.name,
        rules=tuple(tuple(_applied(view, rule) for rule in rules) for rules in policy.tiers),
        passed_on=tuple(resampled.interval((f"beyond {number}", k)) for number in range(len(policy.passed_on))),
        quality=resampled.interval(("quality", k)),
        less_usual=resampled.difference(("quality", k), ("quality", 0)),
        cost={unit: resampled.interval((unit, k)) for unit in units},
        cost_less_usual={unit: resampled.difference((unit, k), (unit, 0)) for unit in units},
    )


def _applied(view: CascadeView, rule: Rule) -> AppliedRule:
    threshold = None if rule.tier.accepts_any else rule.tier.threshold
    return AppliedRule(rule.tier.signal, threshold, float(np.isin(view.test, rule.index).mean()))


def _policies(view: CascadeView) -> Iterator[tuple[str, list[TierRules]]]:
    """Yield each policy's name and the rules of its tiers but the target."""
    shed, tiers = view.dataset.config.cascades[view.id].shed, view.tiers
    yield "usual", _always(view, tiers)
    if shed is not None:
        if (lower := shed_tiers(tiers, "thresholds", shed.thresholds)) is not None:
            yield "shed by thresholds", _always(view, lower)
        anything = shed_tiers(tiers, "members")
        assert anything is not None
        yield "shed by members", _always(view, anything)
    if any(tier.stand_in is not None for tier in tiers):
        yield "scorer away", [without_scorer(view, tier) for tier in tiers[:-1]]


def _always(view: CascadeView, tiers: Sequence[Tier]) -> list[TierRules]:
    return [[Rule(tier, view.group.index)] for tier in tiers[:-1]]


def _judged(view: CascadeView, name: str, tiers: Sequence[TierRules]) -> _Policy:
    nothing = np.zeros(len(view.dataset))
    decisions = [_decided(view, rules) for rules in tiers]
    beyond, deferred = [], np.ones(len(view.dataset), dtype=np.bool_)
    for scores, _ in decisions:
        deferred = deferred & np.isnan(scores)
        beyond.append(deferred.astype(np.float64))

    def run(costs: Sequence[Floats]) -> tuple[Floats, Floats]:
        recorded = [RecordedTier(*decision, cost) for decision, cost in zip(decisions, costs, strict=False)]
        result = outcome(recorded, RecordedTarget(view.quality(view.target), costs[-1]), [0.0] * len(recorded))
        return result.quality, result.cost

    return _Policy(
        name,
        tiers,
        beyond,
        run([nothing] * len(view.tiers))[0],
        {unit: run(costs)[1] for unit, costs in _costs(view, tiers).items()},
    )


def _costs(view: CascadeView, tiers: Sequence[TierRules]) -> dict[Unit, list[Floats]]:
    """Return the costs of each tier, then of the target, as `CascadeView.tier_costs` does.

    Examples that no rule of a tier is for are not compared there, so they cost its members alone.
    """
    uncompared = [replace(tier, signal=None) for tier in view.tiers[:-1]]
    costs = view.tier_costs(uncompared)
    for number, rules in enumerate(tiers):
        for rule in rules:
            rule_costs = view.tier_costs([*uncompared[:number], rule.tier, *uncompared[number + 1 :]])
            costs = {unit: columns for unit, columns in costs.items() if unit in rule_costs}
            for unit, columns in costs.items():
                columns[number] = columns[number].copy()
                columns[number][rule.index] = rule_costs[unit][number][rule.index]
    return costs


def _decided(view: CascadeView, rules: TierRules) -> tuple[Floats, Floats]:
    """Return which examples a tier accepts, 1 or else NaN, and the quality of its selected answers, (n,) each."""
    accepted, quality = np.full(len(view.dataset), np.nan), np.zeros(len(view.dataset))
    for rule in rules:
        assert rule.tier.signal is not None
        members = view.qualities(rule.tier.models)
        chow = view.dataset.config.confidence_of(rule.tier.signal)
        decisions = view.dataset.replay.decisions(rule.tier, chow, rule.index)
        for k, decision in zip(rule.index, decisions, strict=True):
            if decision.selected is not None:
                quality[k] = members[decision.selected, k]
                accepted[k] = 1.0 if decision.accepted else np.nan
    return accepted, quality
