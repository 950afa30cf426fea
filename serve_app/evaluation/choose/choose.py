"""`cascade choose`: of all subsets of the tiers' members, signals and thresholds, the cascades worth having, if any."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod

from serve_app.core.types import Tier
from serve_app.errors import DataError, SignalError, choices
from serve_app.evaluation.analysis.candidates import Candidate, fitted_chows
from serve_app.evaluation.analysis.cascade_view import CascadeView, models_alone, recorded
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.dataset import CALIBRATE, CHOOSE, Dataset
from serve_app.evaluation.choose.reports import Chows, Key, Reports, Specs
from serve_app.evaluation.choose.results import Selection
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier
from serve_app.evaluation.statistics.search import Alone, Choice, Spec, choice_alone, choose, specs, within_budget
from serve_app.signals import ChowConfig, confidence

TOKEN_LEVEL = ("chow_sum", "chow_avg")
MOST_MEMBERS = 8
"""255 subsets; more would take hours, and nobody serves them."""
MOST_CASCADES = 10_000
"""Of several tiers: with 1,000 examples so many take half a minute."""


def tiers(
    records: Records, members: Sequence[str] | None, target: str | None
) -> tuple[tuple[tuple[str, ...], ...], str]:
    """Return the tiers from whose members to choose, and the target.

    If no target is named and the first cascade has several tiers, they are its own; else one tier of all models.
    `members`: only these. Raises DataError if a member is unknown.
    """
    *several, last = [tuple(tier.models) for tier in next(iter(records.config.cascades.values())).tiers]
    if target is None and len(several) > 1:
        available = [model for tier in several for model in tier]
        if unknown := next((model for model in members or () if model not in available), None):
            raise DataError(f"No tier before the target has a member {unknown!r}. {choices(unknown, available)}")
        left = (tuple(model for model in tier if not members or model in members) for tier in several)
        return tuple(filter(None, left)), last[0]
    target = target or last[0]
    return (tuple(members or (model for model in records.models if model != target)),), target


def find(dataset: Dataset, budget: float | None, unit: Unit | None = None) -> Selection:
    """Choose cascades on a quarter of the examples, and report them on another.

    `budget` is a share of the target's mean cost.

    They are the quarters that a calibration chooses and tests on: the half that it is found on has had no part in the
    choice. The dataset has one cascade of all members. Raises DataError where costs are not known.
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
    chows = {model: fitted for tier in view.tiers[:-1] for fitted in [_chows(view, tier)] for model in tier.models}
    models = models_alone(view, unit_)
    alone: Collection[tuple[Key, RecordedTarget]] = models.items()
    target, parts = models[Alone(view.target)], (tuning, testing)
    choices_: list[Choice[Key]] = choose(_candidates(view, chows, unit_), alone, target, parts)
    reports = Reports(view, chows, [choice_alone(key, model, parts) for key, model in alone], choices_)
    best = None if budget is None else within_budget(choices_, budget * float(target.cost[tuning].mean()))
    front = tuple(map(reports.cascade, choices_))
    chosen = None if best is None else front[choices_.index(best)]
    if budget is None:
        instead = reports.instead(choices_, None)
    else:
        instead = None if best is None else reports.instead([best], best)
    return Selection(unit_, budget, front, chosen, instead, len(testing), dataset.source)


def _chows(view: CascadeView, tier: Tier) -> dict[str, ChowConfig]:
    """Return the token-level signals with z-scores fitted on `view.fit`; none if a member has no log-probabilities."""
    try:
        fitted = fitted_chows(view.dataset, tier.models, view.fit)
    except SignalError:
        return {}
    return {chow.kind: chow for chow in fitted if chow.kind in TOKEN_LEVEL}


def _candidates(view: CascadeView, chows: Chows, unit: Unit) -> Iterator[tuple[Specs, list[RecordedTier]]]:
    """Yield every way to build each tier with every way to build the others; of several tiers one may be left out."""
    pairwise = [name for name, signal in view.dataset.signals.items() if not signal.needs_logprobs]
    ways: list[list[Spec | None]] = []
    for tier in view.tiers[:-1]:
        if len(tier.models) > MOST_MEMBERS:
            many = len(tier.models)
            raise DataError(f"{many} members have too many subsets; name up to {MOST_MEMBERS} with --members.")
        left_out = [None] if len(view.tiers) > 2 else []
        ways.append([*left_out, *specs(tier.models, pairwise, tuple(chows[tier.models[0]]))])
    if len(ways) > 1 and (count := prod(map(len, ways))) > MOST_CASCADES:
        raise DataError(
            f"{count:,} combinations of members and signals are too many, up to {MOST_CASCADES:,} are tried: "
            "name fewer of the models with --members, or fewer signals with --signals."
        )
    first, *later = (_recorded(view, way, chows, unit) for way in ways)
    rests = list(product(*later))
    for way in first:
        for rest in rests:
            built = [(spec, tier) for spec, tier in (way, *rest) if spec is not None and tier is not None]
            if built:
                yield tuple(spec for spec, _ in built), [tier for _, tier in built]


def _recorded(
    view: CascadeView, way: Sequence[Spec | None], chows: Chows, unit: Unit
) -> Iterator[tuple[Spec | None, RecordedTier | None]]:
    """Yield the ways to build a tier whose cost is known; (None, None) leaves the tier out."""
    for spec in way:
        if spec is None:
            yield None, None
            continue
        candidate = _candidate(view, spec, chows[spec.members[0]].get(spec.signal))
        if unit in view.tier_cost(candidate.tier):
            yield spec, recorded(view, candidate, unit)


def _candidate(view: CascadeView, spec: Spec, chow: ChowConfig | None) -> Candidate:
    tier = Tier(
        spec.members,
        spec.signal,
        agreement="mean" if chow else "max",
        min_answers=min(2, len(spec.members)),
        truncated=view.tiers[0].truncated,
        compare=next(tier.compare for tier in view.tiers if spec.members[0] in tier.models),
    )
    if chow is not None:
        tier = replace(tier, confidence=confidence(chow), compare=None)
    return Candidate("semantic", view.dataset.replay.score(tier, chow, view.group.index), chow)


def nothing_within(selection: Selection) -> DataError:
    """Return the error that no cascade is within the budget."""
    cheapest = selection.front[0].when_chosen.cost
    return DataError(
        f"Neither a cascade nor a model alone costs {selection.budget:.1%} of the target's {selection.unit} or less; "
        f"the cheapest costs {cheapest:.1%}."
    )
