"""The cheapest threshold of one tier whose quality is within a margin of the target's, and whether that is shown."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from serve_app.errors import ConfigError
from serve_app.evaluation.statistics.betting import betting_p_values
from serve_app.evaluation.statistics.bootstrap import Interval, bootstrap, draws, mean_of
from serve_app.evaluation.statistics.curves import Floats, Integers, Sweep, sweep
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier, Setting, run
from serve_app.evaluation.statistics.risk import quality_differences
from serve_app.evaluation.statistics.search import Parts

Verdict: TypeAlias = Literal["holds", "not shown", "too few accepted", "target alone"]
"""`target alone`: it costs no more than the cascade."""
LEVEL = 0.05
"""Accepted probability that a threshold beyond the margin is reported to be within it."""
FEWEST = 20
"""Fewest accepted answers for a claim: of fewer, the quality is hardly known."""


@dataclass(frozen=True, slots=True)
class Cheapest:
    """The cheapest threshold that costs no more than `margin` of the target's quality, on two parts of the examples.

    `chosen_difference` and `difference`: mean quality less the target's, paired, on the part it was chosen on and on
    the held-out one. `accepted`: of how many held-out examples the tier's answer is kept. `p_value`: of "the expected
    quality is the margin or more below the target's", on the held-out part.
    """

    threshold: float
    margin: float
    chosen: Setting
    chosen_difference: Interval
    held_out: Setting
    difference: Interval
    accepted: int
    p_value: float
    verdict: Verdict


def cheapest_within_margin(
    tier: RecordedTier,
    target: RecordedTarget,
    margin: float,
    parts: Parts,
    *,
    points: int = 101,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Cheapest:
    """Return the most lenient threshold whose paired interval of quality minus the target's stays at or above -margin.

    Thresholds are tried from "defer all", where the difference is 0, downwards, to the first whose interval reaches
    below -margin: so a lucky one beyond a bad one is not taken. Whether it holds is tested on the other part, by
    betting on the signed difference, whatever the bootstrap says: with few examples its intervals are too short.
    Raises ConfigError for a margin that is not from 0 to below 1, DataError for qualities that are not in 0..1.
    """
    if not 0 <= margin < 1:
        raise ConfigError(f"'margin' must be from 0 to below 1, in the quality's unit, not {margin}.")
    tuning = tier.take(parts[0])
    swept = sweep(tuning.scores, tuning.selected, target.quality[parts[0]])
    indices = swept.order.spread(points)
    lows = _lower_bounds(swept, indices, resamples, seed, level)
    good = np.cumprod((lows >= -margin)[::-1])[::-1]  # from the right end to the first failure
    threshold = float(swept.order.thresholds[indices[int(np.argmax(good))]])
    chosen, held_out = (
        _against_target(tier.take(part), target.take(part), threshold, resamples, seed, level) for part in parts
    )
    accepted, p_value = _tested(tier.take(parts[1]), target.take(parts[1]), threshold, margin, seed)
    dear = any(
        setting.cost >= target.cost[part].mean() for (setting, _), part in zip((chosen, held_out), parts, strict=True)
    )
    return Cheapest(threshold, margin, *chosen, *held_out, accepted, p_value, _verdict(dear, accepted, p_value))


def _verdict(dear: bool, accepted: int, p_value: float) -> Verdict:
    if dear:
        return "target alone"
    if accepted < FEWEST:
        return "too few accepted"
    return "holds" if p_value <= LEVEL else "not shown"


def _tested(
    tier: RecordedTier, target: RecordedTarget, threshold: float, margin: float, seed: int
) -> tuple[int, float]:
    """Return how many answers are accepted, and the p-value of a difference of the margin or more."""
    accepted = tier.scores >= threshold
    below = np.where(accepted, quality_differences(tier.selected, target.quality), 0.0)
    shuffled = np.random.default_rng(seed).permutation(below)  # records may be sorted
    return int(accepted.sum()), float(betting_p_values(shuffled[np.newaxis], margin, LEVEL)[0])


def _lower_bounds(swept: Sweep, indices: Integers, resamples: int, seed: int, level: float) -> Floats:
    """Return the lower ends of the paired intervals of quality minus the target's at the p points tried, (p,)."""
    index = swept.order.index
    difference = (swept.selected - swept.target)[index]
    deferred = swept.order.ends[indices]
    means = np.empty((len(indices), resamples))
    for block, counts in draws(len(index), resamples, seed):
        until = np.cumsum(counts.take(index, axis=1) * difference, axis=1)
        before = np.concatenate([np.zeros((len(until), 1)), until], axis=1)
        means[:, block] = ((before[:, -1:] - before[:, deferred]) / len(index)).T
    lows: Floats = np.quantile(means, (1 - level) / 2, axis=1)
    return lows


def _against_target(
    tier: RecordedTier, target: RecordedTarget, threshold: float, resamples: int, seed: int, level: float
) -> tuple[Setting, Interval]:
    difference = np.where(tier.scores >= threshold, tier.selected - target.quality, 0.0)
    resampled = bootstrap({"difference": mean_of(difference)}, len(difference), resamples=resamples, seed=seed)
    return run([tier], target, [threshold]), resampled.interval("difference", level)
