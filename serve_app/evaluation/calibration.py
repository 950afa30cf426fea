"""`cascade calibrate`: a cascade's threshold for a wish, found on some of the records and reported on others.

Three disjoint parts of the examples, by a seeded hash of their ids: `choose` (z-scores, blends, the candidates of a
risk bound), `calibrate` (the threshold) and `test` (what is reported of it).
"""

from dataclasses import dataclass
from math import copysign, isinf
from typing import Literal

import numpy as np

from serve_app.core.agreement import output_scores
from serve_app.core.types import Answer, Generation
from serve_app.errors import ConfigError, DataError
from serve_app.evaluation import plain
from serve_app.evaluation.bounds import binomial_interval
from serve_app.evaluation.calibrate import (
    Calibration,
    RiskBound,
    bound_risk,
    candidate_thresholds,
    disagreement_losses,
    for_budget,
    for_quality,
    for_rate,
    quality_losses,
)
from serve_app.evaluation.curves import Floats, Integers
from serve_app.evaluation.material import POOLED, Group, Material
from serve_app.evaluation.plain import Body
from serve_app.evaluation.policies import Candidate
from serve_app.evaluation.resampling import bootstrap, mean_of
from serve_app.evaluation.setup import Setup
from serve_app.evaluation.similarities import measure, plain_signals

CHOOSE, CALIBRATE = 0.25, 0.75
"""Where the parts are cut: a quarter, a half, a quarter."""
EVERYTHING = 1e9
"""A finite threshold above every score, and with the other sign below: configs hold no infinities."""
BINARY_METRICS = ("exact_match", "accuracy")


@dataclass(frozen=True, slots=True)
class Wish:
    """Exactly one of `rate`, `budget` (a share of the target's cost in `unit`), `quality` and `risk` (with `delta`).

    `label_free`: the risk bound is on disagreement with the target, which needs no references.
    """

    rate: float | None = None
    budget: float | None = None
    unit: Literal["flops", "usd", "device_s"] = "flops"
    quality: float | None = None
    risk: float | None = None
    delta: float = 0.1
    label_free: bool = False

    def __post_init__(self) -> None:
        wished = [self.rate, self.budget, self.quality, self.risk]
        if sum(wish is not None for wish in wished) != 1:
            raise ConfigError("Wish for one thing: --deferral-rate, --budget, --quality or --risk.")
        if self.label_free and self.risk is None:
            raise ConfigError("--label-free goes with --risk; a rate and a budget need no labels anyway.")

    @property
    def labelled(self) -> bool:
        """Whether it cannot do without references."""
        return self.quality is not None or (self.risk is not None and not self.label_free)

    def __str__(self) -> str:
        if self.rate is not None:
            return f"defer {self.rate:.1%} of the requests"
        if self.budget is not None:
            return f"cost at most {self.budget:.1%} of the target alone, in {self.unit}"
        if self.quality is not None:
            return f"a mean quality of at least {self.quality:g}"
        loss = "disagreement with the target" if self.label_free else "loss of quality against the target"
        return f"with probability {1 - self.delta:g} an expected {loss} of at most {self.risk:g}"


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A threshold that a config can hold, and what it does on the test examples."""

    threshold: float
    problem: str | None
    report: Body


def calibrate(material: Material, wish: Wish) -> Calibrated:
    """The threshold of the material's only cascade, judged as its config says. Raises DataError and ConfigError."""
    setup, candidate = judged(material, labelled=wish.labelled)
    choose, tune, test = material.parts(setup.group.index, CHOOSE, CALIBRATE)
    if min(len(choose), len(tune), len(test)) < 2:
        raise DataError(f"{len(setup.group.index)} examples are too few to choose, calibrate and test on.")
    found = _found(setup, candidate, wish, choose, tune)
    threshold = found.threshold if isinstance(found, RiskBound) else found.point.threshold
    finite = writable(threshold)
    report: Body = {
        "cascade": setup.id,
        "signal": candidate.tier.signal,
        "models": [*candidate.tier.models, setup.target],
        "wish": str(wish),
        "met": found.met,
        "examples": {"choose": len(choose), "calibrate": len(tune), "test": len(test)},
        "deferral_rate_when_calibrated": plain.numbers((_rate(candidate, tune, finite), *found.rate_interval)),
        **(_bound(found) if isinstance(found, RiskBound) else {}),
        "on_test": _on_test(setup, candidate, finite, test, labelled=_has_labels(setup)),
    }
    return Calibrated(finite, found.problem, report)


def writable(threshold: float) -> float:
    """As a config can hold it."""
    return copysign(EVERYTHING, threshold) if isinf(threshold) else float(threshold)


def judged(material: Material, *, labelled: bool) -> tuple[Setup, Candidate]:
    """The cascade on all examples, with their qualities where every example has references or they are needed."""
    [id_] = material.config.cascades
    if len(material.config.cascades[id_].tiers) != 2:
        raise DataError(f"{id_!r} has more than two tiers; their thresholds together come from cascade choose.")
    everything = np.arange(len(material.rows))
    has_labels = all(material.records.examples[row].references for row in material.rows)
    group = material.groups[-1] if has_labels or labelled else Group(POOLED, (), everything, {})
    setup = Setup(material, group, id_, everything[:0], everything)
    tier = setup.tiers[0]
    assert tier.signal is not None
    chow = material.config.confidence_of(tier.signal)
    if chow is not None and len(tier.models) > 1 and (unfit := [m for m in tier.models if m not in chow.zscores]):
        raise ConfigError(f"{tier.signal!r} has no zscores for {', '.join(unfit)}; --fit measures them on the records.")
    return setup, Candidate("semantic", material.evidence.judge(tier, chow, group.index), chow)


def _has_labels(setup: Setup) -> bool:
    return bool(setup.group.metrics)


def _found(setup: Setup, candidate: Candidate, wish: Wish, choose: Integers, tune: Integers) -> Calibration | RiskBound:
    scores = candidate.judged.scores
    if wish.rate is not None:
        return for_rate(scores[tune], wish.rate)
    if wish.budget is not None:
        tier, target = _costs(setup, candidate, wish.unit)
        return for_budget(scores[tune], tier[tune], target[tune], wish.budget * float(target[tune].mean()))
    if wish.quality is not None:
        return for_quality(scores[tune], setup.kept(candidate)[tune], setup.quality(setup.target)[tune], wish.quality)
    assert wish.risk is not None
    losses = _losses(setup, candidate, label_free=wish.label_free)
    binary = not wish.label_free and setup.metric in BINARY_METRICS
    return bound_risk(
        scores[tune],
        losses[tune],
        candidate_thresholds(scores[choose]),
        alpha=wish.risk,
        delta=wish.delta,
        binary=binary,
        bounds="disagreement" if wish.label_free else "quality_loss",
    )


def _costs(setup: Setup, candidate: Candidate, unit: str) -> tuple[Floats, Floats]:
    tier = setup.tier_cost(candidate.tier)
    if unit not in tier:
        known = ", ".join(name for name in tier if name != "latency_s") or "none"
        raise DataError(f"The cost in {unit} is not known of every model, or the target is free. Known: {known}.")
    return tier[unit], setup.target_cost[unit]


def _losses(setup: Setup, candidate: Candidate, *, label_free: bool) -> Floats:
    """(n,), in 0..1, of keeping each selected answer."""
    if not label_free:
        return quality_losses(setup.kept(candidate), setup.quality(setup.target))
    return disagreement_losses(_likeness(setup, candidate))


def _likeness(setup: Setup, candidate: Candidate) -> Floats:
    """(n,): how far each selected answer agrees with the target's, by the tier's own signal; 0 where there is none."""
    material, tier = setup.material, candidate.tier
    assert tier.signal is not None
    signals = plain_signals(material.config, [tier.signal])
    if list(signals) != [tier.signal]:
        raise ConfigError(
            f"--label-free compares texts by the cascade's signal, which {tier.signal!r} alone cannot do."
        )
    target, selected = material.evidence.answers(setup.target), candidate.judged.selected
    members = [material.evidence.answers(model) for model in tier.models]
    pairs = [
        (_compared(members[one][k]) if one >= 0 else "", _compared(target[k]))
        for k, one in zip(setup.group.index, selected, strict=True)
    ]
    matrices = measure(signals, pairs, material.options.processes)[tier.signal]
    likeness = [output_scores(matrices.of(k, (0, 1)))[0] for k in range(len(pairs))]
    return np.where(selected >= 0, likeness, 0.0)


def _compared(answer: Answer | None) -> str:
    return answer.compared if isinstance(answer, Generation) else ""


def _rate(candidate: Candidate, part: Integers, threshold: float) -> float:
    return float(1 - (candidate.judged.scores[part] >= threshold).mean())


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
        }
    }


def _on_test(setup: Setup, candidate: Candidate, threshold: float, test: Integers, *, labelled: bool) -> Body:
    """What the threshold does on examples that had no part in it: estimates with 95% intervals."""
    kept = candidate.judged.scores[test] >= threshold
    deferred = int((~kept).sum())
    found: Body = {"deferral_rate": plain.numbers((deferred / len(test), *binomial_interval(deferred, len(test))))}
    costs = setup.tier_cost(candidate.tier)
    found["cost_share"] = {
        unit: plain.number(
            float((costs[unit][test] + np.where(kept, 0.0, setup.target_cost[unit][test])).mean())
            / float(setup.target_cost[unit][test].mean())
        )
        for unit in costs
    }
    if labelled:
        target = setup.quality(setup.target)[test]
        quality = np.where(kept, setup.kept(candidate)[test], target)
        statistics = {"quality": mean_of(quality), "target": mean_of(target)}
        options = setup.material.options
        resampled = bootstrap(statistics, len(test), resamples=options.resamples, seed=options.seed)
        found |= {
            "metric": setup.metric,
            "quality": plain.interval(resampled.interval("quality")),
            "target_quality": plain.interval(resampled.interval("target")),
            "less_target": plain.interval(resampled.difference("quality", "target")),
            "quality_loss": plain.number(float(np.where(kept, np.maximum(0, target - quality), 0.0).mean())),
        }
    return found
