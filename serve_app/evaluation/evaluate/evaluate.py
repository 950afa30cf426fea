"""`cascade evaluate`: everything that the records say of each cascade, as one plain value for tables, reports and JSON.

All areas, intervals and budgets are of the *test* examples. Z-scores, the quantile of Chow-Quantile, the best Chow
baseline and the cheapest threshold within the margin are chosen on the *fit* examples, which are others.
"""

from collections.abc import Sequence

import numpy as np

from serve_app.core.types import Failure, Generation
from serve_app.evaluation.analysis import json_values as plain
from serve_app.evaluation.analysis.candidates import semantic, token_level
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import UNITS
from serve_app.evaluation.analysis.dataset import Dataset, Group
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.evaluate import rows
from serve_app.evaluation.evaluate.fronts import front
from serve_app.evaluation.evaluate.rows import Row, StatisticKey
from serve_app.evaluation.statistics.baselines import oracle
from serve_app.evaluation.statistics.bootstrap import Resampled, Statistic, bootstrap, mean_of
from serve_app.evaluation.statistics.curves import Floats

LOOKED_AT = 5
"""So many of the most and of the least agreed requests are shown."""


def evaluate(dataset: Dataset) -> Body:
    """`{source, margin, groups: [{name, metrics, fit, test, cascades: [...]}]}` in plain JSON values."""
    groups = [_group(dataset, group) for group in dataset.groups]
    return {"source": dataset.source.to_json(), "margin": dataset.options.margin, "groups": groups}


def _group(dataset: Dataset, group: Group) -> Body:
    fit, test = dataset.parts(group.index, dataset.options.fit)
    found: Body = {"name": group.name, "metrics": list(group.metrics), "fit": len(fit), "test": len(test)}
    if min(len(fit), len(test)) < 2:
        return found | {"cascades": [], "problem": "Too few examples: both parts need at least two."}
    views = [CascadeView(dataset, group, id_, fit, test) for id_ in dataset.config.cascades]
    return found | {"cascades": [_cascade(view) for view in views], "problem": None}


def _cascade(view: CascadeView) -> Body:
    models = {model: _model(view, model) for tier in view.tiers for model in tier.models}
    found: Body = {
        "id": view.id,
        "tiers": [list(tier.models) for tier in view.tiers],
        "target": view.target,
        "metric": view.metric,
        "models": models,
        "flags": _beaten(view),
    }
    if len(view.tiers) > 2:
        return found | {"front": front(view)}
    index = view.group.index
    chow, notes = token_level(view.dataset, view.tiers[0], view.fit, index)
    found_rows = rows.rows_of(view, [*semantic(view.dataset, view.tiers[0], index), *chow])
    best = rows.best_chow(found_rows)
    resampled = _bootstrap(view, found_rows)
    return found | {
        "notes": notes,
        "baselines": _baselines(view, resampled),
        "best_chow": None if best is None else found_rows[best].name(),
        "rows": [rows.body(k, row, resampled, best) for k, row in enumerate(found_rows)],
        "looked_at": _looked_at(view, found_rows),
    }


def _model(view: CascadeView, model: str) -> Body:
    """A model alone: mean quality and cost on the test examples, and how often it failed."""
    costs = view.cost(model)
    answers = view.dataset.replay.answers(model)
    return {
        "quality": {metric: _mean(view.quality(model, metric)[view.test]) for metric in view.group.metrics},
        "cost": {unit: _mean(costs[unit][view.test]) if unit in costs else None for unit in UNITS},
        "failed": sum(isinstance(answers[k], Failure) for k in view.test),
    }


def _mean(values: Floats) -> float | str | None:
    return plain.number(float(values.mean()))


def _beaten(view: CascadeView) -> list[str]:
    """Deferring to a worse model cannot pay."""
    target = view.quality(view.target)[view.test].mean()
    means = {model: view.quality(model)[view.test].mean() for tier in view.tiers[:-1] for model in tier.models}
    return [
        f"{model} is better than the target {view.target} ({mean:.4f} against {target:.4f} {view.metric})."
        for model, mean in means.items()
        if mean > target
    ]


def _bootstrap(view: CascadeView, found: Sequence[Row]) -> Resampled[StatisticKey]:
    """All statistics on the same resamples of the test examples."""
    target = view.quality(view.target)[view.test]
    members = view.qualities(view.tiers[0].models)[:, view.test]
    statistics: dict[StatisticKey, Statistic] = {("oracle", None): oracle(members, target).areas}
    statistics["quality", view.target] = mean_of(target)
    for model, values in zip(view.tiers[0].models, members, strict=True):
        statistics["quality", model] = mean_of(values)
        statistics["random", model] = mean_of((values + target) / 2)
        statistics["oracle", model] = oracle(values[np.newaxis], target).areas
    options = view.dataset.options
    return bootstrap(
        statistics | rows.statistics(found), len(view.test), resamples=options.resamples, seed=options.seed
    )


def _baselines(view: CascadeView, resampled: Resampled[StatisticKey]) -> Body:
    """[estimate, low, high] of each: qualities of single models, and areas of random deferral and of the oracles."""
    members = {
        model: {
            "quality": plain.interval(resampled.interval(("quality", model))),
            "less_target": plain.interval(resampled.difference(("quality", model), ("quality", view.target))),
            "random": plain.interval(resampled.interval(("random", model))),
            "oracle": plain.interval(resampled.interval(("oracle", model))),
        }
        for model in view.tiers[0].models
    }
    return {
        "target": plain.interval(resampled.interval(("quality", view.target))),
        "oracle": plain.interval(resampled.interval(("oracle", None))),
        "members": members,
    }


def _looked_at(view: CascadeView, found: Sequence[Row]) -> Body | None:
    """The most and the least agreed test examples, by the config's signal if it is there, with all answers."""
    compared = [row for row in found if row.candidate.kind == "semantic" and row.candidate.tier.agreement == "max"]
    row = next((row for row in compared if row.candidate.tier.signal == view.tiers[0].signal), None)
    row = row or next(iter(compared), None)
    if row is None:
        return None
    scores = row.candidate.scored.scores
    ranked = [int(k) for k in view.test[np.argsort(scores[view.test], kind="stable")] if not np.isnan(scores[k])]
    shown = {"most": ranked[::-1][:LOOKED_AT], "least": ranked[:LOOKED_AT]}
    return {"signal": row.label} | {name: [_example(view, row, k) for k in places] for name, places in shown.items()}


def _example(view: CascadeView, row: Row, k: int) -> Body:
    example = view.dataset.examples[k]
    selected = int(row.candidate.scored.selected[k])
    answers = {}
    for model in (*view.tiers[0].models, view.target):
        answer = view.dataset.replay.answers(model)[k]
        answers[model] = {
            "text": answer.compared if isinstance(answer, Generation) else None,
            "quality": plain.number(float(view.quality(model)[k])),
        }
    return {
        "id": example.id,
        "inputs": dict(example.prompt_inputs),
        "references": list(example.references),
        "agreement": plain.number(float(row.candidate.scored.scores[k])),
        "selected": view.tiers[0].models[selected] if selected >= 0 else None,
        "answers": answers,
    }
