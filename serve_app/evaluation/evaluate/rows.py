"""The rows of a cascade's table: one for every way to judge its answers, each with all that is said of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from serve_app.evaluation.analysis import json_values as plain
from serve_app.evaluation.analysis.candidates import Candidate
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.statistics.baselines import partial_oracle, random_deferral, selection_shares
from serve_app.evaluation.statistics.bootstrap import Resampled, Statistic, mean_of
from serve_app.evaluation.statistics.curves import Curve, Sweep, at_budgets
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier
from serve_app.evaluation.statistics.search import cheapest_within_margin

StatisticKey: TypeAlias = tuple[Literal["quality", "area", "random", "oracle", "partial_oracle"], str | int | None]
"""What is bootstrapped, of what: a model by its name, a row by its number, or None: the cascade as a whole."""

FLAT = 0.01
"""A curve whose best and worst quality are no further apart says nothing about thresholds."""
POINTS = 61
"""Of a curve, for plots; areas are exact."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """`sweep` is of the test examples. `maximum`: of all quantiles the best on the test examples themselves."""

    view: CascadeView
    candidate: Candidate
    sweep: Sweep
    maximum: bool = False

    @property
    def label(self) -> str:
        """The signal, with its quantile."""
        chow = self.candidate.chow
        signal = self.candidate.tier.signal or ""
        return f"{signal}({chow.q:g})" if chow and signal == "chow_quantile" else signal

    def name(self) -> Body:
        """What tells it from other rows."""
        tier = self.candidate.tier
        return {
            "kind": self.candidate.kind,
            "signal": self.label,
            "models": list(tier.models),
            "agreement": tier.agreement,
            "kept": tier.select or "selected",
            "maximum": self.maximum,
        }

    def fit_area(self) -> float:
        """The area on the fit examples, by which to choose."""
        return self.view.sweep(self.candidate, self.view.fit).area


def rows_of(view: CascadeView, candidates: Sequence[Candidate]) -> list[Row]:
    """A row for each, but of all quantiles only two: that best on fit, and the paper's maximum, best on test."""
    found = [Row(view, candidate, view.sweep(candidate, view.test)) for candidate in candidates]
    quantiles = [row for row in found if row.candidate.tier.signal == "chow_quantile"]
    kept = [row for row in found if row not in quantiles]
    for scored in dict.fromkeys(map(_policy, quantiles)):
        alike = [row for row in quantiles if _policy(row) == scored]
        kept.append(max(alike, key=Row.fit_area))
        best = max(alike, key=lambda row: row.sweep.area)
        kept.append(Row(view, best.candidate, best.sweep, maximum=True))
    return kept


def _policy(row: Row) -> tuple[tuple[str, ...], str]:
    return row.candidate.tier.models, row.candidate.tier.agreement


def best_chow(rows: Sequence[Row]) -> int | None:
    """The single member's Chow signal that is best on the fit examples, as an index."""
    chow = [k for k, row in enumerate(rows) if row.candidate.kind == "chow_member" and not row.maximum]
    return max(chow, key=lambda k: rows[k].fit_area(), default=None)


def statistics(rows: Sequence[Row]) -> dict[StatisticKey, Statistic]:
    """Return what is bootstrapped of row k: its area, random deferral's and, if answers are compared, its oracle's."""
    found: dict[StatisticKey, Statistic] = {}
    for k, row in enumerate(rows):
        view = row.view
        found["area", k] = row.sweep.areas
        found["random", k] = mean_of((row.sweep.kept + row.sweep.target) / 2)
        if row.candidate.kind == "semantic":
            scores = row.candidate.scored.scores[view.test]
            members = view.qualities(row.candidate.tier.models)[:, view.test]
            found["partial_oracle", k] = partial_oracle(scores, members, row.sweep.target).areas
    return found


def body(k: int, row: Row, resampled: Resampled[StatisticKey], chow: int | None) -> Body:
    """Row k; `chow` is the index of the best Chow baseline."""
    view, tier = row.view, row.candidate.tier
    members = view.qualities(tier.models)[:, view.test]
    best = tier.models[int(members.mean(axis=1).argmax())]
    found = row.name() | {
        "auc": plain.interval(resampled.interval(("area", k))),
        "random": plain.interval(resampled.interval(("random", k))),
        "over_random": plain.interval(resampled.difference(("area", k), ("random", k))),
        "by_selection": plain.interval(resampled.difference(("random", k), ("random", best))),
        "over_random_best": plain.interval(resampled.difference(("area", k), ("random", best))),
        "over_best_chow": None,
        "partial_oracle": None,
        "kept_quality": plain.number(float(row.sweep.kept.mean())),
        "shares": _shares(row),
        "other_metrics": _other_metrics(row),
    }
    if chow is not None:
        found["over_best_chow"] = plain.interval(resampled.difference(("area", k), ("area", chow)))
    if row.candidate.kind == "semantic":
        found["partial_oracle"] = plain.interval(resampled.interval(("partial_oracle", k)))
    curves = _cost_curves(row)
    return found | {
        "at": {unit: _budgets(row, unit, curve) for unit, curve in curves.items()},
        "cheapest": _cheapest(row),
        "curve": _curve(row, curves),
        "flags": _flags(row),
        "signature": _signature(row),
    }


def _shares(row: Row) -> dict[str, float]:
    """How often each member's answer was selected."""
    selected = [None if one < 0 else int(one) for one in row.candidate.scored.selected[row.view.test]]
    models = row.candidate.tier.models
    return dict(zip(models, map(float, selection_shares(selected, len(models))), strict=True))


def _other_metrics(row: Row) -> dict[str, Body]:
    """The area by every other metric, and how far it is above random deferral's with the same answers."""
    found = {}
    for metric in row.view.group.metrics[1:]:
        swept = row.view.sweep(row.candidate, row.view.test, metric)
        random = random_deferral(swept.kept, swept.target).area
        found[metric] = {"auc": plain.number(swept.area), "over_random": plain.number(swept.area - random)}
    return found


def _cost_curves(row: Row) -> dict[Unit, Curve]:
    view = row.view
    return {
        unit: row.sweep.cost_curve(cost[view.test], view.target_cost[unit][view.test])
        for unit, cost in view.tier_cost(row.candidate.tier).items()
    }


def _curve(row: Row, costs: dict[Unit, Curve]) -> Body:
    """Points for plots, costs as shares of the target's. A threshold of None: no threshold leads there."""
    curve = row.sweep.deferral_curve()
    shown = np.unique(np.linspace(0, len(curve.x) - 1, POINTS).round().astype(int))
    found: Body = {
        "rate": plain.numbers(curve.x[shown]),
        "quality": plain.numbers(curve.quality[shown]),
        "threshold": plain.numbers(curve.thresholds[shown]),
    }
    for unit, cost in costs.items():
        found[unit] = plain.numbers(cost.x[shown] / row.view.target_cost[unit][row.view.test].mean())
    return found


def _budgets(row: Row, unit: Unit, curve: Curve) -> Body:
    """The floor, as a share of the target's cost, and what 10, 20, 40 and 60% of that buy."""
    alone = float(row.view.target_cost[unit][row.view.test].mean())
    found = at_budgets(curve, alone)
    return {
        "target": plain.number(alone),
        "floor": plain.number(curve.floor / alone),
        "bought": {f"{share:g}": plain.bought(at) for share, at in found.items()},
    }


def _cheapest(row: Row) -> Body | None:
    """The cheapest threshold within the margin of the target's quality: chosen on fit, reported on test."""
    view, options = row.view, row.view.dataset.options
    costs = view.tier_cost(row.candidate.tier)
    if not costs or row.maximum:
        return None
    unit = next(iter(costs))
    tier = RecordedTier(row.candidate.scored.scores, view.kept(row.candidate), costs[unit])
    target = RecordedTarget(view.quality(view.target), view.target_cost[unit])
    parts = (view.fit, view.test)
    found = cheapest_within_margin(tier, target, options.margin, parts, resamples=options.resamples, seed=options.seed)
    return {
        "threshold": plain.number(found.threshold),
        "margin": found.margin,
        "unit": unit,
        "cost": plain.number(found.held_out.cost / float(target.cost[view.test].mean())),
        "rate": plain.number(found.held_out.deferred),
        "quality": plain.number(found.held_out.quality),
        "less_target": plain.interval(found.difference),
        "holds": found.holds,
    }


def _flags(row: Row) -> list[str]:
    curve, signal = row.sweep.deferral_curve().quality, row.candidate.tier.signal
    found = []
    kinds = row.view.dataset.kinds(signal) if signal else set()
    if same := kinds.intersection(row.view.metric.split(" / ")):
        is_ = "is also" if kinds == same else "is in part"
        found.append(f"The signal {is_} the quality metric ({', '.join(sorted(same))}): look at another metric, too.")
    if len(row.sweep.order.ends) <= 2:
        found.append("Every example has the same score, so this is random deferral.")
    elif curve.max() - curve.min() < FLAT:
        found.append(f"The curve is flat: its best and its worst quality are less than {FLAT:g} apart.")
    return found


def _signature(row: Row) -> str:
    """All that the row's numbers depend on, as sacreBLEU prints it."""
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
