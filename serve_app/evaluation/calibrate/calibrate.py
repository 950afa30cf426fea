"""`cascade calibrate`: a cascade's thresholds for a goal, found on some of the records and reported on others.

Three disjoint parts of the examples, by a seeded hash of their ids: `choose` (z-scores, blends, the candidates of a
risk bound; all that `cascade choose` chooses), `calibrate` (the thresholds) and `test` (what is reported of them).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from serve_app.core.agreement import output_scores
from serve_app.core.types import Answer, Generation
from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.analysis import json_values as plain
from serve_app.evaluation.analysis.candidates import Candidate
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.dataset import CALIBRATE, CHOOSE, Dataset, writable
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.analysis.similarities import measure, plain_signals
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.statistics.binomial import binomial_interval
from serve_app.evaluation.statistics.bootstrap import bootstrap, mean_of
from serve_app.evaluation.statistics.curves import Floats, Integers
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier, answered_by
from serve_app.evaluation.statistics.risk import (
    RiskBound,
    bound_risk,
    candidate_path,
    disagreement_losses,
    quality_losses,
)
from serve_app.evaluation.statistics.thresholds import Calibration, best_for_budget, for_budget, for_quality, for_rates

BINARY_METRICS = ("exact_match", "accuracy")


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationResult:
    """Thresholds that a config can hold, one for each tier but the target, and what they do on the test examples."""

    thresholds: tuple[float, ...]
    problem: str | None
    report: Body

    def body(self) -> Body:
        """The thresholds for machines: `threshold` of a single tier, else `thresholds`."""
        if len(self.thresholds) == 1:
            return {"threshold": self.thresholds[0]}
        return {"thresholds": list(self.thresholds)}


def calibrate(dataset: Dataset, goal: Goal) -> CalibrationResult:
    """The thresholds of the data set's only cascade, scored as its config says. Raises DataError and ConfigError."""
    view, candidates = scored_tiers(dataset)
    goal.check(len(candidates))
    choose, tune, test = dataset.parts(view.group.index, CHOOSE, CALIBRATE)
    if min(len(choose), len(tune), len(test)) < 2:
        raise DataError(f"{len(view.group.index)} examples are too few to choose, calibrate and test on.")
    found = _found(view, candidates, goal, choose, tune)
    thresholds = found.thresholds if isinstance(found, RiskBound) else found.setting.thresholds
    finite = tuple(map(writable, thresholds))
    rate = float((answered_by(_scores(candidates, tune), finite) > 0).mean())
    report: Body = {
        "cascade": view.id,
        **_judges(view, candidates),
        "wish": str(goal),
        "met": found.met,
        "examples": {"choose": len(choose), "calibrate": len(tune), "test": len(test)},
        "deferral_rate_when_calibrated": plain.numbers((rate, *found.rate_interval)),
        **(_bound(found) if isinstance(found, RiskBound) else {}),
        "on_test": _on_test(view, candidates, finite, test),
    }
    return CalibrationResult(finite, _problem(found), report)


def _problem(found: Calibration | RiskBound) -> str | None:
    """Why the goal is not met; where more examples to calibrate on would do, also how many records have so many."""
    records = _records_needed(found) if isinstance(found, RiskBound) else None
    if found.problem is None or records is None:
        return found.problem
    return f"{found.problem} That takes about {records} records."


def _records_needed(found: RiskBound) -> int | None:
    return None if found.needed is None else ceil(found.needed / (CALIBRATE - CHOOSE))


def scored_tiers(dataset: Dataset) -> tuple[CascadeView, list[Candidate]]:
    """Score the tiers of the data set's only cascade but the target, on all examples."""
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
        candidates.append(Candidate("semantic", dataset.replay.score(tier, chow, group.index), chow))
    if not candidates:
        raise DataError(f"{id_!r} has one tier, which always answers: there is no threshold to find.")
    return view, candidates


def _judges(view: CascadeView, candidates: Sequence[Candidate]) -> Body:
    """Who is asked, and what decides."""
    tiers = [candidate.tier for candidate in candidates]
    if len(tiers) == 1:
        return {"signal": tiers[0].signal, "models": [*tiers[0].models, view.target]}
    named = [{"models": list(tier.models), "signal": tier.signal} for tier in tiers]
    return {"tiers": [*named, {"models": [view.target]}]}


def _scores(candidates: Sequence[Candidate], part: Integers) -> list[Floats]:
    return [candidate.scored.scores[part] for candidate in candidates]


def _found(
    view: CascadeView, candidates: Sequence[Candidate], goal: Goal, choose: Integers, tune: Integers
) -> Calibration | RiskBound:
    scores = _scores(candidates, tune)
    if goal.rates is not None:
        return for_rates(scores, goal.rates)
    if goal.budget is not None:
        costs = [cost[tune] for cost in _costs(view, candidates, goal.unit)]
        allowed = goal.budget * float(costs[-1].mean())
        if len(candidates) > 1 and view.group.metrics:
            return best_for_budget(*_recorded(view, candidates, costs, tune), allowed)
        return for_budget(scores, costs, allowed)
    if goal.quality is not None:
        return for_quality(*_recorded(view, candidates, _prices(view, candidates, goal, tune), tune), goal.quality)
    assert goal.risk is not None
    if not len(path := candidate_path(_scores(candidates, choose))):
        named = " or ".join(dict.fromkeys(repr(candidate.tier.signal) for candidate in candidates))
        raise DataError(f"None of the examples to choose on has a score by {named}.")
    losses = _losses(view, candidates, label_free=goal.label_free)
    return bound_risk(
        scores,
        [loss[tune] for loss in losses],
        path,
        alpha=goal.risk,
        delta=goal.delta,
        binary=not goal.label_free and view.metric in BINARY_METRICS,
        bounds="disagreement" if goal.label_free else "quality_loss",
    )


def _recorded(
    view: CascadeView, candidates: Sequence[Candidate], costs: Sequence[Floats], part: Integers
) -> tuple[list[RecordedTier], RecordedTarget]:
    """On some of the examples, with the costs there: of each tier, and of the target."""
    tiers = [
        RecordedTier(candidate.scored.scores[part], view.kept(candidate)[part], cost)
        for candidate, cost in zip(candidates, costs, strict=False)
    ]
    return tiers, RecordedTarget(view.quality(view.target)[part], costs[-1])


def _costs(view: CascadeView, candidates: Sequence[Candidate], unit: Unit) -> list[Floats]:
    """(n,) of each tier, and of the target."""
    tiers = [view.tier_cost(candidate.tier) for candidate in candidates]
    units = [name for name in view.target_cost if all(name in tier for tier in tiers)]
    if unit not in units:
        known = ", ".join(units) or "none"
        raise DataError(f"The cost in {unit} is not known of every model, or the target is free. Known: {known}.")
    return [*(tier[unit] for tier in tiers), view.target_cost[unit]]


def _prices(view: CascadeView, candidates: Sequence[Candidate], goal: Goal, part: Integers) -> list[Floats]:
    """What a quality is to be had cheaply in. With one threshold that is the deferrals, whatever they cost."""
    if len(candidates) == 1:
        return [np.zeros(len(part)), np.ones(len(part))]
    return [cost[part] for cost in _costs(view, candidates, goal.unit)]


def _losses(view: CascadeView, candidates: Sequence[Candidate], *, label_free: bool) -> list[Floats]:
    """(n,) of each tier, in 0..1, of keeping its selected answers."""
    if not label_free:
        target = view.quality(view.target)
        return [quality_losses(view.kept(candidate), target) for candidate in candidates]
    signal = _comparing(view.dataset, candidates)
    return [disagreement_losses(_likeness(view, candidate, signal)) for candidate in candidates]


def _comparing(dataset: Dataset, candidates: Sequence[Candidate]) -> str:
    """By what answers are held against the target's: the first tier's signal that compares texts by itself."""
    names = [candidate.tier.signal or "" for candidate in candidates]
    found = next((name for name in names if list(plain_signals(dataset.config, [name])) == [name]), None)
    if found is None:
        named = " or ".join(map(repr, dict.fromkeys(names)))
        raise ConfigError(f"--label-free compares texts by the cascade's signal, which {named} alone cannot do.")
    return found


def _likeness(view: CascadeView, candidate: Candidate, signal: str) -> Floats:
    """(n,): how far each selected answer agrees with the target's, by that signal; 0 where there is none."""
    dataset, tier = view.dataset, candidate.tier
    target, selected = dataset.replay.answers(view.target), candidate.scored.selected
    members = [dataset.replay.answers(model) for model in tier.models]
    pairs = [
        (_compared(members[member][k]) if member >= 0 else "", _compared(target[k]))
        for k, member in enumerate(selected.tolist())
    ]
    signals = plain_signals(dataset.config, [signal])
    matrices = measure(signals, pairs, dataset.options.processes)[signal]
    likeness = [output_scores(matrices.of(k, (0, 1)))[0] for k in range(len(pairs))]
    return np.where(selected >= 0, likeness, 0.0)


def _compared(answer: Answer | None) -> str:
    return answer.compared if isinstance(answer, Generation) else ""


def _bound(found: RiskBound) -> Body:
    """What the guarantee is about."""
    return {
        "guarantee": {
            "bounds": found.bounds,
            "alpha": found.alpha,
            "delta": found.delta,
            "mean_loss_when_calibrated": plain.number(found.risk),
            "thresholds_tested": len(found.tested),
            "examples_needed": found.needed,
            "records_needed": _records_needed(found),
        }
    }


def _on_test(view: CascadeView, candidates: Sequence[Candidate], thresholds: Sequence[float], test: Integers) -> Body:
    """What the thresholds do on examples that had no part in them: estimates with 95% intervals."""
    by = answered_by(_scores(candidates, test), thresholds)
    passed = [_share(by > number) for number in range(len(candidates))]
    found: Body = {"deferral_rate": passed[0]}
    if len(candidates) > 1:
        found["passed_on"] = passed
    costs = [view.tier_cost(candidate.tier) for candidate in candidates]
    found["cost_share"] = {
        unit: plain.number(_cost(view, [cost[unit][test] for cost in costs], unit, by, test))
        for unit in view.target_cost
        if all(unit in cost for cost in costs)
    }
    if view.group.metrics:
        target = view.quality(view.target)[test]
        quality = np.choose(by, [*(view.kept(candidate)[test] for candidate in candidates), target])
        statistics = {"quality": mean_of(quality), "target": mean_of(target)}
        options = view.dataset.options
        resampled = bootstrap(statistics, len(test), resamples=options.resamples, seed=options.seed)
        found |= {
            "metric": view.metric,
            "quality": plain.interval(resampled.interval("quality")),
            "target_quality": plain.interval(resampled.interval("target")),
            "less_target": plain.interval(resampled.difference("quality", "target")),
            "quality_loss": plain.number(float(np.maximum(0, target - quality).mean())),
        }
    return found


def _share(those: npt.NDArray[np.bool_]) -> list[float | str | None]:
    count, n = int(those.sum()), len(those)
    return plain.numbers((count / n, *binomial_interval(count, n)))


def _cost(view: CascadeView, tiers: Sequence[Floats], unit: Unit, by: Integers, test: Integers) -> float:
    """The mean cost as a share of the target's: each tier's (n,) costs are paid by what gets there."""
    target = view.target_cost[unit][test]
    paid = np.sum([np.where(by >= number, cost, 0.0) for number, cost in enumerate([*tiers, target])], axis=0)
    return float(paid.mean()) / float(target.mean())
