"""Everything that is reported of a row."""

import numpy as np

from serve_app.evaluation.analysis.cascade_view import recorded
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.evaluate.results import (
    AcceptedResult,
    Budgets,
    CheapestResult,
    CurvePoints,
    OtherMetric,
    RowResult,
)
from serve_app.evaluation.evaluate.row import DEFERRAL_RATES, DEFERRED, Row, StatisticKey
from serve_app.evaluation.statistics.accepted import accepted_at, wrong_if_independent
from serve_app.evaluation.statistics.baselines import random_deferral, selection_shares
from serve_app.evaluation.statistics.bootstrap import Resampled
from serve_app.evaluation.statistics.curves import Curve, at_budgets
from serve_app.evaluation.statistics.gap import average_gap_recovered, calls_needed
from serve_app.evaluation.statistics.margin import cheapest_within_margin

FLAT = 0.01
"""A curve whose best and worst quality are no further apart is flat, so no threshold is better than another."""
GAP_SHARES = (0.5, 0.8)
"""Of the gap between the best member and the target: how many calls of the target recover them."""
Z_95 = 1.96
"""Standard errors on either side of a mean that a normal interval of 95% has."""
POINTS = 61
"""How many points of a curve are kept for plots; areas are exact."""


def result(k: int, row: Row, resampled: Resampled[StatisticKey], chow: int | None) -> RowResult:
    """Return the result of row k; `chow` is the number of the row of the best Chow baseline, or None."""
    view, tier = row.view, row.candidate.tier
    members = view.qualities(tier.models)[:, view.test]
    best = view.best_member(tier.models)
    accepted = {rate: _accepted(k, row, rate, resampled) for rate in DEFERRAL_RATES}
    curves = _cost_curves(row)
    weak = view.quality(view.best_member(view.tiers[0].models))[view.test]
    gap = float(weak.mean()), float(row.sweep.target.mean())
    is_semantic = row.candidate.kind == "semantic"
    return RowResult(
        name=row.name(),
        fit_auc=row.fit_area(),
        auc=resampled.interval(("area", k)),
        random=resampled.interval(("random", k)),
        over_random=resampled.difference(("area", k), ("random", k)),
        by_selection=resampled.difference(("random", k), ("random", best)),
        over_random_best=resampled.difference(("area", k), ("random", best)),
        over_best_chow=None if chow is None else resampled.difference(("area", k), ("area", chow)),
        partial_oracle=resampled.interval(("partial_oracle", k)) if is_semantic else None,
        selected_quality=float(row.sweep.selected.mean()),
        shares=_shares(row),
        other_metrics=_other_metrics(row),
        apgr=average_gap_recovered(row.sweep.area, *gap),
        cpt={share: calls_needed(row.sweep.deferral_curve(), *gap, share) for share in GAP_SHARES},
        at={unit: _budgets(row, unit, curve) for unit, curve in curves.items()},
        accepted=accepted,
        if_independent=wrong_if_independent(members, row.sweep.target) if is_semantic else None,
        cheapest=_cheapest(row),
        curve=_curve(row, curves),
        flags=(*_flags(row), *_deferral_flags(accepted[DEFERRED])),
        signature=_signature(row),
    )


def _accepted(k: int, row: Row, rate: float, resampled: Resampled[StatisticKey]) -> AcceptedResult:
    key: StatisticKey = ("gain", (k, rate))
    accepted = accepted_at(row.sweep, rate)
    return AcceptedResult(
        threshold=accepted.threshold,
        rate=accepted.rate,
        worse=accepted.worse,
        mean_loss=accepted.mean_loss,
        gain=resampled.interval(key) if key in resampled.estimates else None,
    )


def _deferral_flags(accepted: AcceptedResult) -> list[str]:
    """Return a sentence if the target is not shown to be better on what is deferred: its interval includes 0."""
    if accepted.gain is None or accepted.gain.low > 0:
        return []
    at = f"(at about {DEFERRED:.0%})"
    if accepted.gain.estimate <= 0:
        return [f"Deferring buys nothing: the target is no better on what is deferred {at}."]
    return [f"Deferring is not shown to buy anything: the target's gain on what is deferred {at} may be 0."]


def _shares(row: Row) -> dict[str, float]:
    """Return how often each member's answer was selected."""
    members = row.candidate.scored.selected[row.view.test].tolist()
    selected = [None if member < 0 else member for member in members]
    models = row.candidate.tier.models
    return dict(zip(models, map(float, selection_shares(selected, len(models))), strict=True))


def _other_metrics(row: Row) -> dict[str, OtherMetric]:
    areas = {}
    for metric in row.view.group.metrics[1:]:
        swept = row.view.sweep(row.candidate, row.view.test, metric)
        random = random_deferral(swept.selected, swept.target).area
        areas[metric] = OtherMetric(swept.area, swept.area - random)
    return areas


def _cost_curves(row: Row) -> dict[Unit, Curve]:
    view = row.view
    return {
        unit: row.sweep.cost_curve(cost[view.test], target[view.test])
        for unit, (cost, target) in view.tier_costs([row.candidate.tier]).items()
    }


def _curve(row: Row, costs: dict[Unit, Curve]) -> CurvePoints:
    curve = row.sweep.deferral_curve()
    indices = np.unique(np.linspace(0, len(curve.x) - 1, POINTS).round().astype(int))
    shares = {unit: cost.x[indices] / row.view.target_cost[unit][row.view.test].mean() for unit, cost in costs.items()}
    half = Z_95 * row.sweep.standard_errors()[indices]
    return CurvePoints(
        rate=tuple(curve.x[indices].tolist()),
        quality=tuple(curve.quality[indices].tolist()),
        quality_low=tuple((curve.quality[indices] - half).tolist()),
        quality_high=tuple((curve.quality[indices] + half).tolist()),
        threshold=tuple(curve.thresholds[indices].tolist()),
        costs={unit: tuple(share.tolist()) for unit, share in shares.items()},
    )


def _budgets(row: Row, unit: Unit, curve: Curve) -> Budgets:
    target_cost = float(row.view.target_cost[unit][row.view.test].mean())
    return Budgets(target_cost, curve.floor / target_cost, at_budgets(curve, target_cost))


def _cheapest(row: Row) -> CheapestResult | None:
    """Return the cheapest threshold within the margin of the target's quality, or None if no cost is known."""
    view, options = row.view, row.view.dataset.options
    costs = view.tier_costs([row.candidate.tier])
    if not costs or row.maximum:
        return None
    unit = next(iter(costs))
    [tier], target = recorded(view, [row.candidate], costs[unit])
    parts = (view.fit, view.test)
    cheapest = cheapest_within_margin(
        tier, target, options.margin, parts, resamples=options.resamples, seed=options.seed
    )
    return CheapestResult(
        threshold=cheapest.threshold,
        margin=cheapest.margin,
        unit=unit,
        cost=cheapest.held_out.cost / float(view.target_cost[unit][view.test].mean()),
        rate=cheapest.held_out.deferred,
        quality=cheapest.held_out.quality,
        less_target=cheapest.difference,
        accepted=cheapest.accepted,
        p_value=cheapest.p_value,
        verdict=cheapest.verdict,
    )


def _flags(row: Row) -> list[str]:
    curve, signal = row.sweep.deferral_curve().quality, row.candidate.tier.signal
    flags = []
    kinds = row.view.dataset.kinds(signal) if signal else set()
    if same := kinds.intersection(row.view.group.kinds.get(row.view.metric, ())):
        is_ = "is also" if kinds == same else "is in part"
        flags.append(f"The signal {is_} the quality metric ({', '.join(sorted(same))}): look at another metric, too.")
    if len(row.sweep.order.ends) <= 2:
        flags.append("Every example has the same score, so this is random deferral.")
    elif curve.max() - curve.min() < FLAT:
        flags.append(f"The curve is flat: its best and its worst quality are less than {FLAT:g} apart.")
    return flags


def _signature(row: Row) -> str:
    """Return everything that the row's numbers depend on, in the form of sacreBLEU's signatures."""
    view, tier, source = row.view, row.candidate.tier, row.view.dataset.source
    parts = {
        "data": source.data_sha256[:12],
        "group": view.group.name,
        "n": len(view.test),
        "fit": len(view.fit),
        "metric": view.metric,
        "models": f"{'+'.join(tier.models)}>{view.target}",
        "weights": source.models_sha256[:12],
        "config": source.config_sha256[:12],
        "cascade": view.id,
        "signal": row.label,
        "s": tier.agreement,
        "direction": tier.direction,
        "selection": tier.select or "argmax",
        "truncated": tier.truncated,
        "seed": source.seed,
        "resamples": source.resamples,
        "version": source.version,
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())
