"""`cascade evaluate`: everything that the records say of each cascade, as one plain value for tables, reports and JSON.

All areas, intervals and budgets are of the *test* examples. Z-scores, the quantile of Chow-Quantile, the best Chow
baseline and the cheapest threshold within the margin are chosen on the *fit* examples, which are others.
"""

from collections.abc import Sequence

import numpy as np

from serve_app.core.types import Failure, Generation
from serve_app.evaluation.analysis import json_values as plain
from serve_app.evaluation.analysis.candidates import semantic, token_level
from serve_app.evaluation.analysis.cascade_view import Setup
from serve_app.evaluation.analysis.dataset import UNITS, Group, Material
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.evaluate import rows
from serve_app.evaluation.evaluate.fronts import front
from serve_app.evaluation.evaluate.rows import Row, StatisticKey
from serve_app.evaluation.statistics.baselines import oracle
from serve_app.evaluation.statistics.bootstrap import Resampled, Statistic, bootstrap, mean_of
from serve_app.evaluation.statistics.curves import Floats

LOOKED_AT = 5
"""So many of the most and of the least agreed requests are shown."""


def evaluate(material: Material) -> Body:
    """`{source, margin, groups: [{name, metrics, fit, test, cascades: [...]}]}` in plain JSON values."""
    groups = [_group(material, group) for group in material.groups]
    return {"source": material.source, "margin": material.options.margin, "groups": groups}


def _group(material: Material, group: Group) -> Body:
    fit, test = material.parts(group.index, material.options.fit)
    found: Body = {"name": group.name, "metrics": list(group.metrics), "fit": len(fit), "test": len(test)}
    if min(len(fit), len(test)) < 2:
        return found | {"cascades": [], "problem": "Too few examples: both parts need at least two."}
    setups = [Setup(material, group, id_, fit, test) for id_ in material.config.cascades]
    return found | {"cascades": [_cascade(setup) for setup in setups], "problem": None}


def _cascade(setup: Setup) -> Body:
    models = {model: _model(setup, model) for tier in setup.tiers for model in tier.models}
    found: Body = {
        "id": setup.id,
        "tiers": [list(tier.models) for tier in setup.tiers],
        "target": setup.target,
        "metric": setup.metric,
        "models": models,
        "flags": _beaten(setup),
    }
    if len(setup.tiers) > 2:
        return found | {"front": front(setup)}
    index = setup.group.index
    chow, notes = token_level(setup.material, setup.tiers[0], index[setup.fit], index)
    found_rows = rows.rows_of(setup, [*semantic(setup.material, setup.tiers[0], index), *chow])
    best = rows.best_chow(found_rows)
    resampled = _bootstrap(setup, found_rows)
    return found | {
        "notes": notes,
        "baselines": _baselines(setup, resampled),
        "best_chow": None if best is None else found_rows[best].name(),
        "rows": [rows.body(k, row, resampled, best) for k, row in enumerate(found_rows)],
        "looked_at": _looked_at(setup, found_rows),
    }


def _model(setup: Setup, model: str) -> Body:
    """A model alone: mean quality and cost on the test examples, and how often it failed."""
    costs = setup.cost(model)
    answers = setup.material.evidence.answers(model)
    return {
        "quality": {metric: _mean(setup.quality(model, metric)[setup.test]) for metric in setup.group.metrics},
        "cost": {unit: _mean(costs[unit][setup.test]) if unit in costs else None for unit in UNITS},
        "failed": sum(isinstance(answers[k], Failure) for k in setup.group.index[setup.test]),
    }


def _mean(values: Floats) -> float | str | None:
    return plain.number(float(values.mean()))


def _beaten(setup: Setup) -> list[str]:
    """Deferring to a worse model cannot pay."""
    target = setup.quality(setup.target)[setup.test].mean()
    means = {model: setup.quality(model)[setup.test].mean() for tier in setup.tiers[:-1] for model in tier.models}
    return [
        f"{model} is better than the target {setup.target} ({mean:.4f} against {target:.4f} {setup.metric})."
        for model, mean in means.items()
        if mean > target
    ]


def _bootstrap(setup: Setup, found: Sequence[Row]) -> Resampled[StatisticKey]:
    """All statistics on the same resamples of the test examples."""
    target = setup.quality(setup.target)[setup.test]
    members = setup.qualities(setup.tiers[0].models)[:, setup.test]
    statistics: dict[StatisticKey, Statistic] = {("oracle", None): oracle(members, target).areas}
    statistics["quality", setup.target] = mean_of(target)
    for model, values in zip(setup.tiers[0].models, members, strict=True):
        statistics["quality", model] = mean_of(values)
        statistics["random", model] = mean_of((values + target) / 2)
        statistics["oracle", model] = oracle(values[np.newaxis], target).areas
    options = setup.material.options
    return bootstrap(
        statistics | rows.statistics(found), len(setup.test), resamples=options.resamples, seed=options.seed
    )


def _baselines(setup: Setup, resampled: Resampled[StatisticKey]) -> Body:
    """[estimate, low, high] of each: qualities of single models, and areas of random deferral and of the oracles."""
    members = {
        model: {
            "quality": plain.interval(resampled.interval(("quality", model))),
            "less_target": plain.interval(resampled.difference(("quality", model), ("quality", setup.target))),
            "random": plain.interval(resampled.interval(("random", model))),
            "oracle": plain.interval(resampled.interval(("oracle", model))),
        }
        for model in setup.tiers[0].models
    }
    return {
        "target": plain.interval(resampled.interval(("quality", setup.target))),
        "oracle": plain.interval(resampled.interval(("oracle", None))),
        "members": members,
    }


def _looked_at(setup: Setup, found: Sequence[Row]) -> Body | None:
    """The most and the least agreed test examples, by the config's signal if it is there, with all answers."""
    compared = [row for row in found if row.candidate.kind == "semantic" and row.candidate.tier.agreement == "max"]
    row = next((row for row in compared if row.candidate.tier.signal == setup.tiers[0].signal), None)
    row = row or next(iter(compared), None)
    if row is None:
        return None
    scores = row.candidate.judged.scores
    ranked = [int(k) for k in setup.test[np.argsort(scores[setup.test], kind="stable")] if not np.isnan(scores[k])]
    shown = {"most": ranked[::-1][:LOOKED_AT], "least": ranked[:LOOKED_AT]}
    return {"signal": row.label} | {name: [_example(setup, row, k) for k in places] for name, places in shown.items()}


def _example(setup: Setup, row: Row, k: int) -> Body:
    place = int(setup.group.index[k])
    example = setup.material.records.examples[setup.material.rows[place]]
    selected = int(row.candidate.judged.selected[k])
    answers = {}
    for model in (*setup.tiers[0].models, setup.target):
        answer = setup.material.evidence.answers(model)[place]
        answers[model] = {
            "text": answer.compared if isinstance(answer, Generation) else None,
            "quality": plain.number(float(setup.quality(model)[k])),
        }
    return {
        "id": example.id,
        "inputs": dict(example.prompt_inputs),
        "references": list(example.references),
        "agreement": plain.number(float(row.candidate.judged.scores[k])),
        "selected": setup.tiers[0].models[selected] if selected >= 0 else None,
        "answers": answers,
    }
