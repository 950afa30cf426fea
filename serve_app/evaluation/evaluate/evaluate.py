"""`cascade evaluate`: everything that the records say of each cascade, as one result for tables, reports and JSON.

All areas, intervals and budgets are of the *test* examples. Z-scores, the quantile of Chow-Quantile, the best Chow
baseline and the cheapest threshold within the margin are chosen on the *fit* examples, which are others.
"""

from collections.abc import Sequence

import numpy as np

from serve_app.core.types import Failure, Generation
from serve_app.evaluation.analysis.candidates import semantic, token_level
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import UNITS
from serve_app.evaluation.analysis.dataset import Dataset, Group
from serve_app.evaluation.evaluate import rows
from serve_app.evaluation.evaluate.fronts import front
from serve_app.evaluation.evaluate.results import (
    Baselines,
    CascadeResult,
    Curves,
    Evaluation,
    Extremes,
    GroupResult,
    MemberBaselines,
    ModelResult,
    ShownAnswer,
    ShownExample,
)
from serve_app.evaluation.evaluate.rows import Row, StatisticKey
from serve_app.evaluation.statistics.baselines import oracle
from serve_app.evaluation.statistics.bootstrap import Resampled, Statistic, bootstrap, mean_of

SHOWN_EXAMPLES = 5
"""How many of the most and of the least agreed examples are shown."""


def evaluate(dataset: Dataset) -> Evaluation:
    """Evaluate every cascade of the data set on every group of its examples."""
    groups = tuple(_group(dataset, group) for group in dataset.groups)
    return Evaluation(dataset.source, dataset.options.margin, groups)


def _group(dataset: Dataset, group: Group) -> GroupResult:
    fit, test = dataset.parts(group.index, dataset.options.fit)
    cascades: tuple[CascadeResult, ...] = ()
    problem = None
    if min(len(fit), len(test)) < 2:
        problem = "Too few examples: both parts need at least two."
    else:
        views = (CascadeView(dataset, group, id_, fit, test) for id_ in dataset.config.cascades)
        cascades = tuple(_cascade(view) for view in views)
    return GroupResult(group.name, group.metrics, len(fit), len(test), cascades, problem)


def _cascade(view: CascadeView) -> CascadeResult:
    return CascadeResult(
        id=view.id,
        tiers=tuple(tier.models for tier in view.tiers),
        target=view.target,
        metric=view.metric,
        models={model: _model(view, model) for tier in view.tiers for model in tier.models},
        flags=tuple(_better_members(view)),
        detail=front(view) if len(view.tiers) > 2 else _curves(view),
    )


def _curves(view: CascadeView) -> Curves:
    index = view.group.index
    chow, notes = token_level(view.dataset, view.tiers[0], view.fit, index)
    scored = rows.rows_of(view, [*semantic(view.dataset, view.tiers[0], index), *chow])
    best = rows.best_chow(scored)
    resampled = _bootstrap(view, scored)
    return Curves(
        notes=tuple(notes),
        baselines=_baselines(view, resampled),
        best_chow=None if best is None else scored[best].name(),
        rows=tuple(rows.result(k, row, resampled, best) for k, row in enumerate(scored)),
        looked_at=_extremes(view, scored),
    )


def _model(view: CascadeView, model: str) -> ModelResult:
    costs, answers = view.cost(model), view.dataset.replay.answers(model)
    return ModelResult(
        quality={metric: float(view.quality(model, metric)[view.test].mean()) for metric in view.group.metrics},
        cost={unit: float(costs[unit][view.test].mean()) if unit in costs else None for unit in UNITS},
        failed=sum(isinstance(answers[k], Failure) for k in view.test),
    )


def _better_members(view: CascadeView) -> list[str]:
    """Return a sentence for each member that is better than the target: deferring to a worse model cannot pay."""
    target = view.quality(view.target)[view.test].mean()
    means = {model: view.quality(model)[view.test].mean() for tier in view.tiers[:-1] for model in tier.models}
    return [
        f"{model} is better than the target {view.target} ({mean:.4f} against {target:.4f} {view.metric})."
        for model, mean in means.items()
        if mean > target
    ]


def _bootstrap(view: CascadeView, scored: Sequence[Row]) -> Resampled[StatisticKey]:
    """Compute all statistics on the same resamples of the test examples."""
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
        statistics | rows.statistics(scored), len(view.test), resamples=options.resamples, seed=options.seed
    )


def _baselines(view: CascadeView, resampled: Resampled[StatisticKey]) -> Baselines:
    members = {
        model: MemberBaselines(
            quality=resampled.interval(("quality", model)),
            less_target=resampled.difference(("quality", model), ("quality", view.target)),
            random=resampled.interval(("random", model)),
            oracle=resampled.interval(("oracle", model)),
        )
        for model in view.tiers[0].models
    }
    return Baselines(resampled.interval(("quality", view.target)), resampled.interval(("oracle", None)), members)


def _extremes(view: CascadeView, scored: Sequence[Row]) -> Extremes | None:
    """Return the most and the least agreed test examples, by the config's signal if it was evaluated, or None."""
    compared = [row for row in scored if row.candidate.kind == "semantic" and row.candidate.tier.agreement == "max"]
    row = next((row for row in compared if row.candidate.tier.signal == view.tiers[0].signal), None)
    row = row or next(iter(compared), None)
    if row is None:
        return None
    scores = row.candidate.scored.scores
    ranked = [int(k) for k in view.test[np.argsort(scores[view.test], kind="stable")] if not np.isnan(scores[k])]
    most, least = ranked[::-1][:SHOWN_EXAMPLES], ranked[:SHOWN_EXAMPLES]
    return Extremes(row.label, *(tuple(_example(view, row, k) for k in shown) for shown in (most, least)))


def _example(view: CascadeView, row: Row, k: int) -> ShownExample:
    example, selected = view.dataset.examples[k], int(row.candidate.scored.selected[k])
    answers = {}
    for model in (*view.tiers[0].models, view.target):
        answer = view.dataset.replay.answers(model)[k]
        text = answer.compared if isinstance(answer, Generation) else None
        answers[model] = ShownAnswer(text, float(view.quality(model)[k]))
    return ShownExample(
        id=example.id,
        inputs=example.prompt_inputs,
        references=tuple(example.references),
        agreement=float(row.candidate.scored.scores[k]),
        selected=view.tiers[0].models[selected] if selected >= 0 else None,
        answers=answers,
    )
