"""The rows of a cascade's table: one for every way to score its answers, each with everything reported of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from serve_app.evaluation.analysis.candidates import Candidate
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.evaluate.results import (
    Budgets,
    CheapestResult,
    CurvePoints,
    OtherMetric,
    RowName,
    RowResult,
)
from serve_app.evaluation.statistics.baselines import partial_oracle, random_deferral, selection_shares
from serve_app.evaluation.statistics.bootstrap import Resampled, Statistic, mean_of
from serve_app.evaluation.statistics.curves import Curve, Sweep, at_budgets
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier
from serve_app.evaluation.statistics.search import cheapest_within_margin

StatisticKey: TypeAlias = tuple[Literal["quality", "area", "random", "oracle", "partial_oracle"], str | int | None]
"""What is bootstrapped, of what: a model by its name, a row by its number, or None: the cascade as a whole."""

FLAT = 0.01
"""A curve whose best and worst quality are no further apart is flat: it says nothing about thresholds."""
POINTS = 61
"""How many points of a curve are kept for plots; areas are exact."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """`sweep` is of the test examples. `maximum`: of all quantiles the best on the test examples themselves."""

    view: CascadeView
    candidate: Candidate
    sweep: Sweep
    maximum: bool = False

    @property
    def label(self) -> str:
        """Return the signal, with its quantile if it has one."""
        chow = self.candidate.chow
        signal = self.candidate.tier.signal or ""
        return f"{signal}({chow.q:g})" if chow and signal == "chow_quantile" else signal

    def name(self) -> RowName:
        """Return what tells the row from the others."""
        tier = self.candidate.tier
        return RowName(
            kind=self.candidate.kind,
            signal=self.label,
            models=tier.models,
            agreement=tier.agreement,
            kept=tier.select or "selected",
            maximum=self.maximum,
        )

    def fit_area(self) -> float:
        """Return the area on the fit examples, by which rows are chosen."""
        return self.view.sweep(self.candidate, self.view.fit).area


def rows_of(view: CascadeView, candidates: Sequence[Candidate]) -> list[Row]:
    """Return a row for each candidate, but of all quantiles only the best on fit, and the paper's: the best on test."""
    rows = [Row(view, candidate, view.sweep(candidate, view.test)) for candidate in candidates]
    quantiles = [row for row in rows if row.candidate.tier.signal == "chow_quantile"]
    selected = [row for row in rows if row not in quantiles]
    for policy in dict.fromkeys(map(_policy, quantiles)):
        alike = [row for row in quantiles if _policy(row) == policy]
        selected.append(max(alike, key=Row.fit_area))
        best = max(alike, key=lambda row: row.sweep.area)
        selected.append(Row(view, best.candidate, best.sweep, maximum=True))
    return selected


def _policy(row: Row) -> tuple[tuple[str, ...], str]:
    return row.candidate.tier.models, row.candidate.tier.agreement


def best_chow(rows: Sequence[Row]) -> int | None:
    """Return the number of the row of the single member's Chow signal that is best on the fit examples, or None."""
    chow = [k for k, row in enumerate(rows) if row.candidate.kind == "chow_member" and not row.maximum]
    return max(chow, key=lambda k: rows[k].fit_area(), default=None)


def statistics(rows: Sequence[Row]) -> dict[StatisticKey, Statistic]:
    """Return what is bootstrapped of row k: its area, random deferral's and, if answers are compared, its oracle's."""
    statistics_: dict[StatisticKey, Statistic] = {}
    for k, row in enumerate(rows):
        view = row.view
        statistics_["area", k] = row.sweep.areas
        statistics_["random", k] = mean_of((row.sweep.kept + row.sweep.target) / 2)
        if row.candidate.kind == "semantic":
            scores = row.candidate.scored.scores[view.test]
            members = view.qualities(row.candidate.tier.models)[:, view.test]
            statistics_["partial_oracle", k] = partial_oracle(scores, members, row.sweep.target).areas
    return statistics_


def result(k: int, row: Row, resampled: Resampled[StatisticKey], chow: int | None) -> RowResult:
    """Return the result of row k; `chow` is the number of the row of the best Chow baseline, or None."""
    view, tier = row.view, row.candidate.tier
    members = view.qualities(tier.models)[:, view.test]
    best = tier.models[int(members.mean(axis=1).argmax())]
    curves = _cost_curves(row)
    is_semantic = row.candidate.kind == "semantic"
    return RowResult(
        name=row.name(),
        auc=resampled.interval(("area", k)),
        random=resampled.interval(("random", k)),
        over_random=resampled.difference(("area", k), ("random", k)),
        by_selection=resampled.difference(("random", k), ("random", best)),
        over_random_best=resampled.difference(("area", k), ("random", best)),
        over_best_chow=None if chow is None else resampled.difference(("area", k), ("area", chow)),
        partial_oracle=resampled.interval(("partial_oracle", k)) if is_semantic else None,
        kept_quality=float(row.sweep.kept.mean()),
        shares=_shares(row),
        other_metrics=_other_metrics(row),
        at={unit: _budgets(row, unit, curve) for unit, curve in curves.items()},
        cheapest=_cheapest(row),
        curve=_curve(row, curves),
        flags=tuple(_flags(row)),
        signature=_signature(row),
    )


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
        random = random_deferral(swept.kept, swept.target).area
        areas[metric] = OtherMetric(swept.area, swept.area - random)
    return areas


def _cost_curves(row: Row) -> dict[Unit, Curve]:
    view = row.view
    return {
        unit: row.sweep.cost_curve(cost[view.test], view.target_cost[unit][view.test])
        for unit, cost in view.tier_cost(row.candidate.tier).items()
    }


def _curve(row: Row, costs: dict[Unit, Curve]) -> CurvePoints:
    curve = row.sweep.deferral_curve()
    shown = np.unique(np.linspace(0, len(curve.x) - 1, POINTS).round().astype(int))
    shares = {unit: cost.x[shown] / row.view.target_cost[unit][row.view.test].mean() for unit, cost in costs.items()}
    return CurvePoints(
        rate=tuple(curve.x[shown].tolist()),
        quality=tuple(curve.quality[shown].tolist()),
        threshold=tuple(curve.thresholds[shown].tolist()),
        costs={unit: tuple(share.tolist()) for unit, share in shares.items()},
    )


def _budgets(row: Row, unit: Unit, curve: Curve) -> Budgets:
    alone = float(row.view.target_cost[unit][row.view.test].mean())
    return Budgets(alone, curve.floor / alone, at_budgets(curve, alone))


def _cheapest(row: Row) -> CheapestResult | None:
    """Return the cheapest threshold within the margin of the target's quality, or None if no cost is known."""
    view, options = row.view, row.view.dataset.options
    costs = view.tier_cost(row.candidate.tier)
    if not costs or row.maximum:
        return None
    unit = next(iter(costs))
    tier = RecordedTier(row.candidate.scored.scores, view.kept(row.candidate), costs[unit])
    target = RecordedTarget(view.quality(view.target), view.target_cost[unit])
    parts = (view.fit, view.test)
    cheapest = cheapest_within_margin(
        tier, target, options.margin, parts, resamples=options.resamples, seed=options.seed
    )
    return CheapestResult(
        threshold=cheapest.threshold,
        margin=cheapest.margin,
        unit=unit,
        cost=cheapest.held_out.cost / float(target.cost[view.test].mean()),
        rate=cheapest.held_out.deferred,
        quality=cheapest.held_out.quality,
        less_target=cheapest.difference,
        holds=cheapest.holds,
    )


def _flags(row: Row) -> list[str]:
    curve, signal = row.sweep.deferral_curve().quality, row.candidate.tier.signal
    flags = []
    kinds = row.view.dataset.kinds(signal) if signal else set()
    if same := kinds.intersection(row.view.metric.split(" / ")):
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
        "signal": row.label,
        "s": tier.agreement,
        "direction": tier.direction,
        "kept": tier.select or "argmax",
        "truncated": tier.truncated,
        "seed": source.seed,
        "resamples": source.resamples,
        "version": source.version,
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())
