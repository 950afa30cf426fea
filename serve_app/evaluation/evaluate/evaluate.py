"""`cascade evaluate`: everything that the records say of each cascade, as one result for tables, reports and JSON.

All areas, intervals and budgets are of the *test* examples. Z-scores, the quantile of Chow-Quantile, the best Chow
baseline and the cheapest threshold within the margin are chosen on the *fit* examples, which are others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from serve_app.core.types.answer import Failure
from serve_app.evaluation.analysis.candidates import semantic, token_level
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import UNITS
from serve_app.evaluation.analysis.dataset import Dataset, Group
from serve_app.evaluation.analysis.past.requests import PastRequests, past_requests
from serve_app.evaluation.evaluate.comparisons import check_names, comparisons, keys_by_name
from serve_app.evaluation.evaluate.fronts import front
from serve_app.evaluation.evaluate.operating.points import operating_points
from serve_app.evaluation.evaluate.remedies.judge import judge
from serve_app.evaluation.evaluate.results import (
    Baselines,
    CascadeResult,
    Curves,
    Evaluation,
    GroupResult,
    MemberBaselines,
    ModelResult,
)
from serve_app.evaluation.evaluate.row import Row, StatisticKey, best_chow, rows_of, statistics
from serve_app.evaluation.evaluate.rows import result
from serve_app.evaluation.evaluate.shown import extremes
from serve_app.evaluation.evaluate.skips import skip_result
from serve_app.evaluation.evaluate.worth import worth
from serve_app.evaluation.statistics.accepted import share_of
from serve_app.evaluation.statistics.baselines import oracle
from serve_app.evaluation.statistics.bootstrap import Resampled, Statistic, bootstrap, mean_of


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A cascade on one group of examples, with every way to score its answers; none if it has more than two tiers.

    `notes`: what the records lack, in sentences. `past`: the examples as past requests, if the cascade has `skip`.
    """

    view: CascadeView
    rows: Sequence[Row]
    notes: Sequence[str]
    past: PastRequests | None = None


def score(dataset: Dataset) -> list[Scored]:
    """Score the answers of every cascade on every group of examples that is large enough, in every way.

    Raises `SignalError` and `WeightsError` if the encoder of a cascade's `skip` cannot be used.
    """
    scores = []
    cascades = dataset.config.cascades
    past = {id_: past_requests(dataset, id_) for id_ in cascades if cascades[id_].skip is not None}
    for group in dataset.groups:
        fit, test = dataset.parts(group.index, dataset.options.fit)
        if min(len(fit), len(test)) >= 2:
            scores += [_scored(CascadeView(dataset, group, id_, fit, test), past.get(id_)) for id_ in cascades]
    return scores


def _scored(view: CascadeView, past: PastRequests | None) -> Scored:
    if len(view.tiers) > 2:
        return Scored(view, [], [], past)
    index = view.group.index
    chow, notes = token_level(view.dataset, view.tiers[0], view.fit, index)
    return Scored(view, rows_of(view, [*semantic(view.dataset, view.tiers[0], index), *chow]), notes, past)


def evaluate(
    dataset: Dataset,
    scored: Sequence[Scored] | None = None,
    compare: Sequence[str] = (),
    *,
    remedies: bool = False,
    willingness_usd: Sequence[float] = (),
) -> Evaluation:
    """Evaluate every cascade of the data set on every group of its examples.

    `scored`: by `score`, if it is known already. `compare`: names of rows, of which the first is compared with each of
    the others. `remedies`: whether to serve the cascades with each of their remedies off and on; `willingness_usd`:
    worths of a correct answer, for each of which the config's thresholds are chosen anew. Raises DataError if no
    cascade has rows of these names, or there are no latencies to serve with, or no prices.
    """
    scored = score(dataset) if scored is None else scored
    if compare:
        check_names(
            compare,
            [
                keys_by_name(cascade_scores.view, cascade_scores.rows)
                for cascade_scores in scored
                if cascade_scores.rows
            ],
        )
    cascades = [
        (
            cascade_scores.view.group,
            replace(
                _cascade(cascade_scores, compare),
                remedies=judge(cascade_scores.view) if remedies else None,
                worth=worth(cascade_scores.view, willingness_usd),
            ),
        )
        for cascade_scores in scored
    ]
    groups = tuple(
        _group(dataset, group, tuple(cascade for cascade_group, cascade in cascades if cascade_group is group))
        for group in dataset.groups
    )
    return Evaluation(dataset.source, dataset.options.margin, groups)


def _group(dataset: Dataset, group: Group, cascades: tuple[CascadeResult, ...]) -> GroupResult:
    fit, test = dataset.parts(group.index, dataset.options.fit)
    problem = None if cascades else "Too few examples: both parts need at least two."
    return GroupResult(group.name, group.metrics, len(fit), len(test), cascades, problem)


def _cascade(scores: Scored, compare: Sequence[str]) -> CascadeResult:
    view = scores.view
    return CascadeResult(
        id=view.id,
        tiers=tuple(tier.models for tier in view.tiers),
        target=view.target,
        metric=view.metric,
        models={model: _model(view, model) for tier in view.tiers for model in tier.models},
        flags=(*_better_members(view), *_arrival_dependent(view)),
        detail=front(view) if len(view.tiers) > 2 else _curves(scores, compare),
        skip=None if scores.past is None else skip_result(view, scores.past),
        operating_points=operating_points(view),
    )


def _curves(scores: Scored, compare: Sequence[str]) -> Curves:
    view, rows = scores.view, scores.rows
    keys = keys_by_name(view, rows)
    missing = [name for name in compare if name not in keys]
    notes = [f"Nothing is compared here: there is no row {name!r}." for name in missing]
    best = best_chow(rows)
    resampled = _bootstrap(view, rows)
    return Curves(
        notes=(*scores.notes, *notes),
        baselines=_baselines(view, resampled),
        best_chow=None if best is None else rows[best].name(),
        rows=tuple(result(k, row, resampled, best) for k, row in enumerate(rows)),
        comparisons=comparisons(compare, keys, resampled) if compare and not missing else (),
        looked_at=extremes(view, rows),
    )


def _model(view: CascadeView, model: str) -> ModelResult:
    costs, answers = view.cost(model), view.dataset.replay.answers(model)
    return ModelResult(
        quality={metric: float(view.quality(model, metric)[view.test].mean()) for metric in view.group.metrics},
        worse=share_of((view.quality(model) < view.quality(view.target))[view.test]),
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


def _arrival_dependent(view: CascadeView) -> list[str]:
    """Return a sentence for each tier whose decision or selection depends on the order of arrival."""
    sentences = []
    for number, tier in enumerate(view.tiers[:-1]):
        if tier.decides_by_arrival:
            sentences.append(f"tiers[{number}] has a quorum or a tier_timeout_s; all figures are those of all answers.")
        if tier.selects_by_arrival:
            sentences.append(
                f"tiers[{number}] has early: decision; qualities are those of early: selection, deferral is the same."
            )
    return sentences


def _bootstrap(view: CascadeView, rows: Sequence[Row]) -> Resampled[StatisticKey]:
    """Compute all statistics on the same resamples of the test examples."""
    target = view.quality(view.target)[view.test]
    members = view.qualities(view.tiers[0].models)[:, view.test]
    model_statistics: dict[StatisticKey, Statistic] = {("oracle", None): oracle(members, target).areas}
    model_statistics["quality", view.target] = mean_of(target)
    for model, values in zip(view.tiers[0].models, members, strict=True):
        model_statistics["quality", model] = mean_of(values)
        model_statistics["random", model] = mean_of((values + target) / 2)
        model_statistics["oracle", model] = oracle(values[np.newaxis], target).areas
    options = view.dataset.options
    return bootstrap(
        model_statistics | statistics(rows), len(view.test), resamples=options.resamples, seed=options.seed
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
    best = view.best_member(view.tiers[0].models)
    return Baselines(best, resampled.interval(("quality", view.target)), resampled.interval(("oracle", None)), members)
