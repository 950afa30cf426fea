"""`cascade choose`: of subsets of the tiers' members, ladders, signals and thresholds, the cascades worth having."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod

from serve_app.core.sampling import are_first, base_name
from serve_app.core.types.policy import Tier
from serve_app.errors import DataError, UsageError, choices
from serve_app.evaluation.analysis.cascade_view import CascadeView, models_alone
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.dataset import CALIBRATE, CHOOSE, Dataset
from serve_app.evaluation.choose.progress import ChooseProgress
from serve_app.evaluation.choose.reports import Key, Reports
from serve_app.evaluation.choose.results import Selection
from serve_app.evaluation.choose.tiers import Chows, Specs, TierBuilder, chows_of, measured
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier
from serve_app.evaluation.statistics.search import (
    Alone,
    Choice,
    Spec,
    choice_alone,
    choose,
    ladders,
    specs,
    within_budget,
)

MOST_MEMBERS = 8
"""Limit of members: 255 subsets; more would take hours."""
MOST_CASCADES = 10_000
"""Limit of cascades of several tiers: with 1,000 examples so many take half a minute."""
MOST_LADDERS = 1_000
"""Limit of ladders of one tier's members: with 1,000 examples so many take a minute."""


def tiers(
    records: Records, members: Sequence[str] | None, target: str | None
) -> tuple[tuple[tuple[str, ...], ...], str]:
    """Return the tiers from whose members to choose, and the target.

    If no target is named and the first cascade has several tiers, they are its own; else one tier of all models.
    `members`: only these. Raises UsageError if a member is unknown.
    """
    *several, last = [tuple(tier.models) for tier in next(iter(records.config.cascades.values())).tiers]
    if target is None and len(several) > 1:
        available = [model for tier in several for model in tier]
        if unknown := next((model for model in members or () if model not in available), None):
            raise UsageError(f"No tier before the target has a member {unknown!r}. {choices(unknown, available)}")
        candidates = (tuple(m for m in tier if m != last[0] and (not members or m in members)) for tier in several)
        return tuple(dict.fromkeys(filter(None, candidates))), last[0]
    target = target or last[0]
    return (tuple(members or (model for model in records.models if model != target)),), target


def find(
    dataset: Dataset, budget: float | None, unit: Unit | None = None, progress: ChooseProgress | None = None
) -> Selection:
    """Choose cascades on a quarter of the examples, and report them on another.

    `budget` is a share of the target's mean cost. `progress` counts the cascades tried.

    They are the quarters that a calibration chooses and tests on: the half that it is found on has had no part in the
    choice. The dataset has one cascade of all members. Raises DataError if costs are not known.
    """
    [id_] = dataset.config.cascades
    group = dataset.groups[-1]
    tuning, _, testing = dataset.parts(group.index, CHOOSE, CALIBRATE)
    if min(len(tuning), len(testing)) < 2:
        raise DataError(f"{len(group.index)} examples are too few to choose on a quarter and report on another.")
    view = CascadeView(dataset, group, id_, tuning, testing)
    unit_ = unit or view.unit([replace(tier, signal=None) for tier in view.tiers[:-1]])
    cost = view.target_cost.get(unit_)
    if cost is None:
        raise DataError(f"The cost in {unit_} is not known of every model, or the target is free.")
    chows = chows_of(view)
    models = models_alone(view, unit_)
    alone: Collection[tuple[Key, RecordedTarget]] = models.items()
    target, parts = models[Alone(view.target)], (tuning, testing)
    several, left_out = combinations(view, chows, unit_)
    counted = several if progress is None else progress.count(several)
    choices_: list[Choice[Key]] = choose(candidates(TierBuilder(view, chows, unit_), counted), alone, parts)
    reports = Reports(view, chows, [choice_alone(key, model, parts) for key, model in alone], choices_)
    best = None if budget is None else within_budget(choices_, budget * float(target.cost[tuning].mean()))
    front = tuple(map(reports.cascade, choices_))
    best_report = None if best is None else front[choices_.index(best)]
    if budget is None:
        instead = reports.instead(choices_, None)
    else:
        instead = None if best is None else reports.instead([best], best)
    return Selection(unit_, budget, front, best_report, instead, len(several), left_out, len(testing), dataset.source)


def candidates(
    builder: TierBuilder, tried: Iterable[Specs]
) -> Iterator[tuple[Specs, list[RecordedTier], RecordedTarget]]:
    """Yield the cascades to try whose costs are known."""
    for specs_ in tried:
        if (built := builder.cascade(specs_)) is not None:
            yield specs_, *built


def combinations(view: CascadeView, chows: Chows, unit: Unit) -> tuple[list[Specs], int]:
    """Return the cascades to try, and how many ladders are left out.

    Of one tier's members every subset with every signal, then ladders. Of several tiers every way to build each with
    every way to build the others; one may be left out.
    """
    pairwise = [name for name, signal in view.dataset.signals.items() if not signal.needs_logprobs]
    ways: list[list[Spec | None]] = []
    for tier in view.tiers[:-1]:
        if len(tier.models) > MOST_MEMBERS:
            many = len(tier.models)
            raise UsageError(f"{many} members have too many subsets; name up to {MOST_MEMBERS} with --members.")
        left_out = [None] if len(view.tiers) > 2 else []
        built = specs(tier.models, pairwise, tuple(chows))
        ways.append([*left_out, *(spec for spec in built if _is_tried(spec, tier, chows))])
    if len(ways) > 1 and (count := prod(map(len, ways))) > MOST_CASCADES:
        raise UsageError(
            f"{count:,} combinations of members and signals are too many, up to {MOST_CASCADES:,} are tried: "
            "name fewer of the models with --members, or fewer signals with --signals."
        )
    built_tiers = (tuple(spec for spec in combination if spec is not None) for combination in product(*ways))
    cascades = [tiers_ for tiers_ in built_tiers if tiers_]
    if len(ways) > 1:
        return cascades, 0
    [tier] = view.tiers[:-1]
    rising = [
        ladder
        for ladder in _ladders(view, chows, unit, pairwise)
        if all(_is_tried(spec, tier, chows) for spec in ladder)
    ]
    return [*cascades, *rising[:MOST_LADDERS]], max(0, len(rising) - MOST_LADDERS)


def _is_tried(spec: Spec, tier: Tier, chows: Chows) -> bool:
    """Return whether to try a way to build a tier. Samples of one model are alike, so only the first are tried."""
    return measured(spec, chows) and are_first(spec.members, tier.models)


def _ladders(view: CascadeView, chows: Chows, unit: Unit, pairwise: Sequence[str]) -> Iterator[Specs]:
    """Yield the ladders of the only tier's members whose cost is known."""
    means = {model: cost[unit][view.fit].mean() for model in view.tiers[0].models if unit in (cost := view.cost(model))}
    members = [model for model in view.tiers[0].models if model in means]
    # The first sample of a model comes before its second, though it may have been longer.
    first = {base_name(model): means[model] for model in reversed(members)}
    by_cost = sorted(members, key=lambda model: first[base_name(model)])
    return ladders(members, by_cost, pairwise, tuple(chows))


def nothing_within(selection: Selection) -> DataError:
    """Return the error that no cascade is within the budget."""
    cheapest = selection.front[0].when_chosen.cost
    return DataError(
        f"Neither a cascade nor a model alone costs {selection.budget:.1%} of the target's {selection.unit} or less; "
        f"the cheapest costs {cheapest:.1%}."
    )
