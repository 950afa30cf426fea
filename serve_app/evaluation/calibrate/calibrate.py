"""`cascade calibrate`: a cascade's thresholds for a goal, found on some of the records and reported on others.

Three disjoint parts of the examples, by a seeded hash of their ids: `choose` (z-scores, blends, the candidates of a
risk bound; all that `cascade choose` chooses), `calibrate` (the thresholds) and `test` (what is reported of them). If
nothing is to be chosen, the first part calibrates, too.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
import numpy.typing as npt

from serve_app.core.deciding.deferral import standing_in
from serve_app.core.deciding.histogram import Histogram
from serve_app.core.types.policy import Tier
from serve_app.errors import ConfigError, DataError, UsageError
from serve_app.evaluation.analysis.candidates import Candidate, as_configured
from serve_app.evaluation.analysis.cascade_view import CascadeView, recorded
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.dataset import CALIBRATE, CHOOSE, Dataset, writable
from serve_app.evaluation.analysis.exchange import exchange_points
from serve_app.evaluation.calibrate.bound import bound_by_test, needs_path, scores_on
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.calibrate.results import (
    CalibrationReport,
    CalibrationResult,
    Guarantee,
    OnTest,
    PartSizes,
    QualityResult,
    ScoredTier,
)
from serve_app.evaluation.statistics.binomial import binomial_interval
from serve_app.evaluation.statistics.bootstrap import Interval, bootstrap, mean_of
from serve_app.evaluation.statistics.curves import Floats, Integers
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier, answered_by
from serve_app.evaluation.statistics.risk import RiskBound
from serve_app.evaluation.statistics.thresholds import Calibration, best_for_budget, for_budget, for_quality, for_rates

LEVEL = 0.95
"""Confidence level of all intervals."""


def calibrate(
    dataset: Dataset, goal: Goal, *, set_aside: bool, all_tune: bool = False, stand_in: bool = False
) -> CalibrationResult:
    """Find the thresholds of the data set's only cascade for a goal, scored as its config says.

    `set_aside`: something was fitted or chosen on the part to choose on, so it must not calibrate. `all_tune`: the
    part to calibrate on is a whole records file. `stand_in`: the tier is scored as if the scorer failed. Raises
    DataError and ConfigError.
    """
    view, candidates = scored_tiers(dataset, stand_in=stand_in)
    goal.check(len(candidates))
    _check_recorded([candidate.tier for candidate in candidates], goal)
    choose, tune, test = dataset.parts(view.group.index, CHOOSE, CALIBRATE)
    if not set_aside and not needs_path(goal, len(candidates), len(choose) + len(tune)):
        choose, tune = choose[:0], np.concatenate([choose, tune])
    tune = tune[np.argsort(dataset.shares[tune])]  # by hashes: an order that says nothing about the examples
    path_needed = set_aside or needs_path(goal, len(candidates), len(tune))
    if min(len(tune), len(test)) < 2 or (path_needed and len(choose) < 2):
        raise DataError(f"{len(view.group.index)} examples are too few to choose, calibrate and test on.")
    bound = _thresholds(view, candidates, goal, choose, tune)
    thresholds = bound.thresholds if isinstance(bound, RiskBound) else bound.setting.thresholds
    finite = tuple(map(writable, thresholds))
    share = 1.0 if all_tune else CALIBRATE - CHOOSE if len(choose) else CALIBRATE
    rate = float((answered_by(scores_on(candidates, tune), finite) > 0).mean())
    report = CalibrationReport(
        cascade=view.id,
        tiers=tuple(ScoredTier(candidate.tier.models, candidate.tier.signal) for candidate in candidates),
        target=view.target,
        goal=str(goal),
        met=bound.met,
        examples=PartSizes(len(choose), len(tune), len(test)),
        deferral_rate_when_calibrated=Interval(rate, *bound.rate_interval, LEVEL),
        quality_when_calibrated=_untested_quality(view, candidates, goal, finite, tune),
        guarantee=_guarantee(bound, share) if isinstance(bound, RiskBound) else None,
        on_test=_on_test(view, candidates, finite, test),
    )
    exchange = exchange_points(view, candidates, tune)
    agreements = _agreements(candidates[0], tune)
    return CalibrationResult(finite, _problem(bound, share), report, agreements, tuple(exchange))


def _agreements(candidate: Candidate, part: Integers) -> Histogram:
    """Return how a tier's agreement is spread over some of the examples; those without agreement are in no bin."""
    [scores] = scores_on([candidate], part)
    return Histogram.of(scores[np.isfinite(scores)].tolist(), candidate.tier.signal_range)


def _problem(calibration: Calibration | RiskBound, share: float) -> str | None:
    """Return why the goal is not met, or None; if more examples would meet it, with the number of records needed."""
    records = _records_needed(calibration, share) if isinstance(calibration, RiskBound) else None
    if calibration.problem is None or records is None:
        return calibration.problem
    return f"{calibration.problem} That takes about {records} records."


def _records_needed(bound: RiskBound, share: float) -> int | None:
    """Return how many records have as many examples to calibrate on as are needed; `share` of them calibrate."""
    return None if bound.needed is None else ceil(bound.needed / share)


def scored_tiers(dataset: Dataset, *, stand_in: bool = False) -> tuple[CascadeView, list[Candidate]]:
    """Score the tiers of the data set's only cascade but the target, on all examples.

    `stand_in`: by the signals that decide if the scorer fails.
    """
    [id_] = dataset.config.cascades
    group = dataset.groups[-1]
    view = CascadeView(dataset, group, id_, group.index[:0], group.index)
    candidates = []
    for tier in view.tiers[:-1]:
        assert tier.signal is not None
        chow = dataset.config.confidence_of(tier.signal)
        if chow is not None and len(tier.models) > 1 and (unfit := [m for m in tier.models if m not in chow.zscores]):
            raise ConfigError(
                f"{tier.signal!r} has no zscores for {', '.join(unfit)}; --fit measures them on the records."
            )
        deciding_tier = standing_in(tier) if stand_in else tier
        assert deciding_tier is not None
        candidates.append(as_configured(dataset, deciding_tier, group.index))
    if not candidates:
        raise UsageError(f"{id_!r} has one tier, which always answers: there is no threshold to find.")
    return view, candidates


def _check_recorded(tiers: Sequence[Tier], goal: Goal) -> None:
    """Raise ConfigError if the goal depends on the order in which answers arrive, which records do not have."""
    for number, tier in enumerate(tiers):
        if tier.decides_by_arrival:
            raise ConfigError(
                f"tiers[{number}]: quorum and tier_timeout_s depend on arrival, which records do not have; calibrate "
                "without them."
            )
        if tier.selects_by_arrival and (goal.quality is not None or goal.risk is not None):
            raise ConfigError(
                f"tiers[{number}]: under early: decision the answer that is returned depends on arrival, which records "
                "do not have; calibrate a quality or a loss with early: selection."
            )


def _thresholds(
    view: CascadeView, candidates: Sequence[Candidate], goal: Goal, choose: Integers, tune: Integers
) -> Calibration | RiskBound:
    scores = scores_on(candidates, tune)
    if goal.rates is not None:
        return for_rates(scores, goal.rates)
    if goal.budget is not None:
        costs = _costs(view, candidates, goal.unit)
        allowed = goal.budget * float(view.target_cost[goal.unit][tune].mean())
        if len(candidates) > 1 and view.group.metrics:
            return best_for_budget(*_recorded(view, candidates, costs, tune), allowed)
        return for_budget(scores, [cost[tune] for cost in costs], allowed)
    if goal.tested_delta is not None:
        return bound_by_test(view, candidates, goal, choose, tune)
    assert goal.quality is not None
    return for_quality(*_recorded(view, candidates, _prices(view, candidates, goal), tune), goal.quality)


def _recorded(
    view: CascadeView, candidates: Sequence[Candidate], costs: Sequence[Floats], part: Integers
) -> tuple[list[RecordedTier], RecordedTarget]:
    """Return the tiers and the target on some of the examples; `costs` are of each tier, then of the target."""
    tiers, target = recorded(view, candidates, costs)
    return [tier.take(part) for tier in tiers], target.take(part)


def _costs(view: CascadeView, candidates: Sequence[Candidate], unit: Unit) -> list[Floats]:
    """Return the costs of each tier, then of the target, (n,) each. Raises DataError if one is unknown."""
    costs = view.tier_costs([candidate.tier for candidate in candidates])
    if unit not in costs:
        available = ", ".join(costs) or "none"
        raise DataError(f"The cost in {unit} is unknown for a model, or the target is free. Available: {available}.")
    return costs[unit]


def _prices(view: CascadeView, candidates: Sequence[Candidate], goal: Goal) -> list[Floats]:
    """Return the costs that a quality goal minimises; with one threshold they are deferrals, whatever their cost."""
    if len(candidates) == 1:
        return [np.zeros(len(view.dataset)), np.ones(len(view.dataset))]
    return _costs(view, candidates, goal.unit)


def _guarantee(bound: RiskBound, share: float) -> Guarantee:
    return Guarantee(
        bounds=bound.bounds,
        alpha=bound.alpha,
        delta=bound.delta,
        mean_loss_when_calibrated=bound.risk,
        thresholds_tested=len(bound.tested),
        examples_needed=bound.needed,
        records_needed=_records_needed(bound, share),
    )


def _on_test(view: CascadeView, candidates: Sequence[Candidate], thresholds: Sequence[float], test: Integers) -> OnTest:
    by = answered_by(scores_on(candidates, test), thresholds)
    costs = view.tier_costs([candidate.tier for candidate in candidates])
    return OnTest(
        passed_on=tuple(_share(by > number) for number in range(len(candidates))),
        cost_share={unit: _cost(view, columns, unit, by, test) for unit, columns in costs.items()},
        quality=_quality(view, candidates, by, test) if view.group.metrics else None,
    )


def _untested_quality(
    view: CascadeView, candidates: Sequence[Candidate], goal: Goal, thresholds: Sequence[float], tune: Integers
) -> Interval | None:
    """Return the mean quality on the examples that a quality goal was reached on without a test, else None."""
    if goal.quality is None or goal.tested_delta is not None:
        return None
    return _quality(view, candidates, answered_by(scores_on(candidates, tune), thresholds), tune).quality


def _quality(view: CascadeView, candidates: Sequence[Candidate], by: Integers, test: Integers) -> QualityResult:
    target = view.quality(view.target)[test]
    quality = np.choose(by, [*(view.selected_quality(candidate)[test] for candidate in candidates), target])
    statistics = {"quality": mean_of(quality), "target": mean_of(target)}
    options = view.dataset.options
    resampled = bootstrap(statistics, len(test), resamples=options.resamples, seed=options.seed)
    return QualityResult(
        metric=view.metric,
        quality=resampled.interval("quality"),
        target_quality=resampled.interval("target"),
        less_target=resampled.difference("quality", "target"),
        quality_loss=float(np.maximum(0, target - quality).mean()),
    )


def _share(mask: npt.NDArray[np.bool_]) -> Interval:
    """Return the share of examples for which `mask` is true, with its Clopper-Pearson interval."""
    count, n = int(mask.sum()), len(mask)
    return Interval(count / n, *binomial_interval(count, n, LEVEL), LEVEL)


def _cost(view: CascadeView, costs: Sequence[Floats], unit: Unit, by: Integers, test: Integers) -> float:
    """Return the mean cost as a share of the target's: each tier's (n,) costs are paid by requests that get there."""
    paid = np.sum([np.where(by >= number, cost[test], 0.0) for number, cost in enumerate(costs)], axis=0)
    return float(paid.mean()) / float(view.target_cost[unit][test].mean())
