"""`cascade calibrate`: a cascade's thresholds for a wish, found on some of the records and reported on others.

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
from serve_app.evaluation.analysis.cascade_view import Setup
from serve_app.evaluation.analysis.dataset import CALIBRATE, CHOOSE, POOLED, Group, Material, Unit, writable
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.analysis.similarities import measure, plain_signals
from serve_app.evaluation.calibrate.goal import Wish
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
class Calibrated:
    """Thresholds that a config can hold, one for each tier but the target, and what they do on the test examples."""

    thresholds: tuple[float, ...]
    problem: str | None
    report: Body

    def body(self) -> Body:
        """The thresholds for machines: `threshold` of a single tier, else `thresholds`."""
        if len(self.thresholds) == 1:
            return {"threshold": self.thresholds[0]}
        return {"thresholds": list(self.thresholds)}


def calibrate(material: Material, wish: Wish) -> Calibrated:
    """The thresholds of the material's only cascade, judged as its config says. Raises DataError and ConfigError."""
    setup, candidates = judged(material, labelled=wish.labelled)
    wish.check(len(candidates))
    choose, tune, test = material.parts(setup.group.index, CHOOSE, CALIBRATE)
    if min(len(choose), len(tune), len(test)) < 2:
        raise DataError(f"{len(setup.group.index)} examples are too few to choose, calibrate and test on.")
    found = _found(setup, candidates, wish, choose, tune)
    thresholds = found.thresholds if isinstance(found, RiskBound) else found.setting.thresholds
    finite = tuple(map(writable, thresholds))
    rate = float((answered_by(_scores(candidates, tune), finite) > 0).mean())
    report: Body = {
        "cascade": setup.id,
        **_judges(setup, candidates),
        "wish": str(wish),
        "met": found.met,
        "examples": {"choose": len(choose), "calibrate": len(tune), "test": len(test)},
        "deferral_rate_when_calibrated": plain.numbers((rate, *found.rate_interval)),
        **(_bound(found) if isinstance(found, RiskBound) else {}),
        "on_test": _on_test(setup, candidates, finite, test),
    }
    return Calibrated(finite, _problem(found), report)


def _problem(found: Calibration | RiskBound) -> str | None:
    """Why the wish is not met; where more examples to calibrate on would do, also how many records have so many."""
    records = _records_needed(found) if isinstance(found, RiskBound) else None
    if found.problem is None or records is None:
        return found.problem
    return f"{found.problem} That takes about {records} records."


def _records_needed(found: RiskBound) -> int | None:
    return None if found.needed is None else ceil(found.needed / (CALIBRATE - CHOOSE))


def judged(material: Material, *, labelled: bool) -> tuple[Setup, list[Candidate]]:
    """The cascade's tiers but the target, on all examples; with qualities where all have references or need them."""
    [id_] = material.config.cascades
    everything = np.arange(len(material.rows))
    has_labels = all(material.records.examples[row].references for row in material.rows)
    group = material.groups[-1] if has_labels or labelled else Group(POOLED, (), everything, {})
    setup = Setup(material, group, id_, everything[:0], everything)
    candidates = []
    for tier in setup.tiers[:-1]:
        assert tier.signal is not None
        chow = material.config.confidence_of(tier.signal)
        if chow is not None and len(tier.models) > 1 and (unfit := [m for m in tier.models if m not in chow.zscores]):
            raise ConfigError(
                f"{tier.signal!r} has no zscores for {', '.join(unfit)}; --fit measures them on the records."
            )
        candidates.append(Candidate("semantic", material.evidence.judge(tier, chow, group.index), chow))
    if not candidates:
        raise DataError(f"{id_!r} has one tier, which always answers: there is no threshold to find.")
    return setup, candidates


def _judges(setup: Setup, candidates: Sequence[Candidate]) -> Body:
    """Who is asked, and what decides."""
    tiers = [candidate.tier for candidate in candidates]
    if len(tiers) == 1:
        return {"signal": tiers[0].signal, "models": [*tiers[0].models, setup.target]}
    named = [{"models": list(tier.models), "signal": tier.signal} for tier in tiers]
    return {"tiers": [*named, {"models": [setup.target]}]}


def _scores(candidates: Sequence[Candidate], part: Integers) -> list[Floats]:
    return [candidate.judged.scores[part] for candidate in candidates]


def _found(
    setup: Setup, candidates: Sequence[Candidate], wish: Wish, choose: Integers, tune: Integers
) -> Calibration | RiskBound:
    scores = _scores(candidates, tune)
    if wish.rates is not None:
        return for_rates(scores, wish.rates)
    if wish.budget is not None:
        costs = [cost[tune] for cost in _costs(setup, candidates, wish.unit)]
        allowed = wish.budget * float(costs[-1].mean())
        if len(candidates) > 1 and setup.group.metrics:
            return best_for_budget(*_recorded(setup, candidates, costs, tune), allowed)
        return for_budget(scores, costs, allowed)
    if wish.quality is not None:
        return for_quality(*_recorded(setup, candidates, _prices(setup, candidates, wish, tune), tune), wish.quality)
    assert wish.risk is not None
    if not len(path := candidate_path(_scores(candidates, choose))):
        named = " or ".join(dict.fromkeys(repr(candidate.tier.signal) for candidate in candidates))
        raise DataError(f"None of the examples to choose on has a score by {named}.")
    losses = _losses(setup, candidates, label_free=wish.label_free)
    return bound_risk(
        scores,
        [loss[tune] for loss in losses],
        path,
        alpha=wish.risk,
        delta=wish.delta,
        binary=not wish.label_free and setup.metric in BINARY_METRICS,
        bounds="disagreement" if wish.label_free else "quality_loss",
    )


def _recorded(
    setup: Setup, candidates: Sequence[Candidate], costs: Sequence[Floats], part: Integers
) -> tuple[list[RecordedTier], RecordedTarget]:
    """On some of the examples, with the costs there: of each tier, and of the target."""
    tiers = [
        RecordedTier(candidate.judged.scores[part], setup.kept(candidate)[part], cost)
        for candidate, cost in zip(candidates, costs, strict=False)
    ]
    return tiers, RecordedTarget(setup.quality(setup.target)[part], costs[-1])


def _costs(setup: Setup, candidates: Sequence[Candidate], unit: Unit) -> list[Floats]:
    """(n,) of each tier, and of the target."""
    tiers = [setup.tier_cost(candidate.tier) for candidate in candidates]
    units = [name for name in setup.target_cost if all(name in tier for tier in tiers)]
    if unit not in units:
        known = ", ".join(units) or "none"
        raise DataError(f"The cost in {unit} is not known of every model, or the target is free. Known: {known}.")
    return [*(tier[unit] for tier in tiers), setup.target_cost[unit]]


def _prices(setup: Setup, candidates: Sequence[Candidate], wish: Wish, part: Integers) -> list[Floats]:
    """What a quality is to be had cheaply in. With one threshold that is the deferrals, whatever they cost."""
    if len(candidates) == 1:
        return [np.zeros(len(part)), np.ones(len(part))]
    return [cost[part] for cost in _costs(setup, candidates, wish.unit)]


def _losses(setup: Setup, candidates: Sequence[Candidate], *, label_free: bool) -> list[Floats]:
    """(n,) of each tier, in 0..1, of keeping its selected answers."""
    if not label_free:
        target = setup.quality(setup.target)
        return [quality_losses(setup.kept(candidate), target) for candidate in candidates]
    signal = _comparing(setup.material, candidates)
    return [disagreement_losses(_likeness(setup, candidate, signal)) for candidate in candidates]


def _comparing(material: Material, candidates: Sequence[Candidate]) -> str:
    """By what answers are held against the target's: the first tier's signal that compares texts by itself."""
    names = [candidate.tier.signal or "" for candidate in candidates]
    found = next((name for name in names if list(plain_signals(material.config, [name])) == [name]), None)
    if found is None:
        named = " or ".join(map(repr, dict.fromkeys(names)))
        raise ConfigError(f"--label-free compares texts by the cascade's signal, which {named} alone cannot do.")
    return found


def _likeness(setup: Setup, candidate: Candidate, signal: str) -> Floats:
    """(n,): how far each selected answer agrees with the target's, by that signal; 0 where there is none."""
    material, tier = setup.material, candidate.tier
    target, selected = material.evidence.answers(setup.target), candidate.judged.selected
    members = [material.evidence.answers(model) for model in tier.models]
    pairs = [
        (_compared(members[one][k]) if one >= 0 else "", _compared(target[k]))
        for k, one in zip(setup.group.index, selected, strict=True)
    ]
    signals = plain_signals(material.config, [signal])
    matrices = measure(signals, pairs, material.options.processes)[signal]
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


def _on_test(setup: Setup, candidates: Sequence[Candidate], thresholds: Sequence[float], test: Integers) -> Body:
    """What the thresholds do on examples that had no part in them: estimates with 95% intervals."""
    by = answered_by(_scores(candidates, test), thresholds)
    passed = [_share(by > number) for number in range(len(candidates))]
    found: Body = {"deferral_rate": passed[0]}
    if len(candidates) > 1:
        found["passed_on"] = passed
    costs = [setup.tier_cost(candidate.tier) for candidate in candidates]
    found["cost_share"] = {
        unit: plain.number(_cost(setup, [cost[unit][test] for cost in costs], unit, by, test))
        for unit in setup.target_cost
        if all(unit in cost for cost in costs)
    }
    if setup.group.metrics:
        target = setup.quality(setup.target)[test]
        quality = np.choose(by, [*(setup.kept(candidate)[test] for candidate in candidates), target])
        statistics = {"quality": mean_of(quality), "target": mean_of(target)}
        options = setup.material.options
        resampled = bootstrap(statistics, len(test), resamples=options.resamples, seed=options.seed)
        found |= {
            "metric": setup.metric,
            "quality": plain.interval(resampled.interval("quality")),
            "target_quality": plain.interval(resampled.interval("target")),
            "less_target": plain.interval(resampled.difference("quality", "target")),
            "quality_loss": plain.number(float(np.maximum(0, target - quality).mean())),
        }
    return found


def _share(those: npt.NDArray[np.bool_]) -> list[float | str | None]:
    count, n = int(those.sum()), len(those)
    return plain.numbers((count / n, *binomial_interval(count, n)))


def _cost(setup: Setup, tiers: Sequence[Floats], unit: str, by: Integers, test: Integers) -> float:
    """The mean cost as a share of the target's: each tier's (n,) costs are paid by what gets there."""
    target = setup.target_cost[unit][test]
    paid = np.sum([np.where(by >= number, cost, 0.0) for number, cost in enumerate([*tiers, target])], axis=0)
    return float(paid.mean()) / float(target.mean())
