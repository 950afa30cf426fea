"""A threshold for a wish: a deferral rate, a cost budget, a quality floor, or a bound on the risk.

Rate and budget need no labels. The first three hold on the examples given, and elsewhere about as well as those stand
for the traffic. The risk bound holds for all traffic like the examples, with a probability that is chosen:
fixed-sequence testing of Learn-then-Test (Angelopoulos et al. 2021, arXiv 2110.01052).

Every threshold is midway between scores that differ by more than `RESOLUTION`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Literal

import numpy as np
import numpy.typing as npt

from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.bounds import binomial_interval, examples_needed, p_values
from serve_app.evaluation.curves import ROUNDING, Floats, Order, Point, column, order, sweep

RESOLUTION = 1e-9
"""Scores that are no further apart count as equal: floating-point noise could swap them."""

Bounds = Literal["quality_loss", "disagreement"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The threshold that comes nearest to a wish, on the examples given.

    `point.x` is what the wish was about besides quality: the rate, or the mean cost. `point.quality` is NaN where no
    labels were used. `problem` is a sentence for the user where the wish is not met, else None.
    """

    point: Point
    examples: int
    problem: str | None

    @property
    def met(self) -> bool:
        return self.problem is None

    @property
    def rate_interval(self) -> tuple[float, float]:
        """95% interval (Clopper-Pearson) of the deferral rate on traffic like the examples."""
        return binomial_interval(round(self.point.rate * self.examples), self.examples)


def for_rate(scores: npt.ArrayLike, rate: float, tolerance: float = 0.02) -> Calibration:
    """The threshold whose deferral rate is nearest to `rate` (0..1); met if no further away than `tolerance`.

    (n,) scores are enough. Without ties some threshold is within half an example, which always counts as met.
    """
    _between_0_and_1("rate", rate, ends=True)
    ordered = order(scores, RESOLUTION)
    reachable = np.flatnonzero(ordered.reachable)
    rates = ordered.rates[reachable]
    nearest = int(reachable[np.argmin(np.abs(rates - rate))])
    reached = ordered.rates[nearest]
    problem = None
    if abs(reached - rate) > max(tolerance, 0.5 / len(ordered.index)) + ROUNDING:
        problem = f"No threshold defers {rate:.1%}; the nearest defers {reached:.1%}, because "
        if rate < rates[0]:
            problem += f"{rates[0]:.1%} of the examples have no score and are always deferred."
        else:
            problem += f"up to {np.diff(ordered.ends).max()} of {len(ordered.index)} examples have the same score."
    return _calibration(ordered, nearest, ordered.rates, problem)


def for_budget(
    scores: npt.ArrayLike, tier_cost: npt.ArrayLike, target_cost: npt.ArrayLike, budget: float
) -> Calibration:
    """The threshold that defers most while the mean cost of a request is at most `budget`, in the costs' unit.

    `tier_cost`: members and scorer, (n,), paid by every request; `target_cost`: (n,), on top if deferred. If the
    budget is below the floor, the point is the floor's. No quality is used: more deferral is taken to be better.
    """
    ordered = order(scores, RESOLUTION)
    tier = column("tier_cost", tier_cost, ordered.index)
    target = column("target_cost", target_cost, ordered.index)
    costs = ordered.means(tier, tier + target)
    reachable = np.flatnonzero(ordered.reachable)
    affordable = reachable[costs[reachable] <= budget * (1 + ROUNDING)]
    if len(affordable):
        return _calibration(ordered, int(affordable[np.argmax(ordered.rates[affordable])]), costs, None)
    floor, alone = float(costs[reachable].min()), float(target.mean())
    problem = f"The budget is {budget:.4g} a request, but the least that a threshold can cost is {floor:.4g}"
    if alone > 0:
        problem += f": {floor / alone:.1%} of the target's {alone:.4g}, where {budget / alone:.1%} was asked for"
    return _calibration(ordered, int(reachable[np.argmin(costs[reachable])]), costs, problem + ".")


def for_quality(scores: npt.ArrayLike, kept: npt.ArrayLike, target: npt.ArrayLike, floor: float) -> Calibration:
    """The threshold that defers least while the mean quality is at least `floor`, in the qualities' unit.

    If none is, the point is that of the best quality. A plain mean over the examples: report it on others.
    """
    curve = sweep(scores, kept, target, RESOLUTION).deferral_curve()
    reachable, examples = curve.reachable, len(np.asarray(scores))
    qualities = curve.quality[reachable]
    enough = np.flatnonzero(qualities >= floor - ROUNDING * abs(floor))
    if len(enough):
        return Calibration(curve.point(int(reachable[enough[0]])), examples, None)
    best = curve.point(int(reachable[np.argmax(qualities)]))
    problem = f"No threshold has a mean quality of {floor:.4g}; the best, {best.quality:.4g}, defers {best.rate:.1%}."
    return Calibration(best, examples, problem)


def _calibration(ordered: Order, k: int, x: Floats, problem: str | None) -> Calibration:
    point = Point(float(ordered.thresholds[k]), float(ordered.rates[k]), float(x[k]), nan)
    return Calibration(point, len(ordered.index), problem)


@dataclass(frozen=True, slots=True)
class Tested:
    """One candidate threshold: mean loss over all n requests, and the p-value of "the expected loss is over alpha"."""

    threshold: float
    risk: float
    p_value: float


@dataclass(frozen=True, slots=True)
class RiskBound:
    """A threshold under which, with probability 1 - delta over the examples, the expected loss is at most alpha.

    `threshold` is +inf (defer everything, where the loss is 0) if not even the strictest candidate passed.
    """

    threshold: float
    alpha: float
    delta: float
    examples: int
    bounds: Bounds
    """`quality_loss`: max(0, Q_target - Q_cascade). `disagreement`: with the target, which may itself be wrong."""
    risk: float
    """The mean loss on the examples at the threshold."""
    rate: float
    """The share of the examples that the threshold defers."""
    tested: tuple[Tested, ...]
    """The candidates tested, strictest first; the last one failed, unless all passed."""
    needed: int | None
    """So many examples would let the failed candidate pass, if its mean loss stayed; None if none failed or would."""
    problem: str | None
    """A sentence for the user where no candidate passed, else None."""

    @property
    def met(self) -> bool:
        return self.problem is None

    @property
    def rate_interval(self) -> tuple[float, float]:
        """95% interval (Clopper-Pearson) of the deferral rate on traffic like the examples."""
        return binomial_interval(round(self.rate * self.examples), self.examples)


def quality_losses(kept: npt.ArrayLike, target: npt.ArrayLike) -> Floats:
    """(n,): what keeping each answer loses, max(0, Q_target - Q_kept). Raises DataError unless Q is in 0..1."""
    qualities = np.asarray(kept, dtype=np.float64), np.asarray(target, dtype=np.float64)
    for name, quality in zip(("kept", "target"), qualities, strict=True):
        if not ((quality >= 0) & (quality <= 1)).all():
            raise DataError(f"{name!r} must be qualities between 0 and 1, scaled if need be.")
    return np.maximum(0.0, qualities[1] - qualities[0])


def disagreement_losses(similarities: npt.ArrayLike) -> Floats:
    """(n,): 1 - similarity of the kept answer to the target's, within 0..1. Needs no labels."""
    return np.clip(1 - np.asarray(similarities, dtype=np.float64), 0.0, 1.0)


def candidate_thresholds(scores: npt.ArrayLike, count: int = 100) -> Floats:
    """At most `count` thresholds to test, strictest first, evenly spread over the deferral rates of these scores.

    From examples that the risk bound is not tested on, or the guarantee is lost; they need no labels.
    """
    ordered = order(scores, RESOLUTION)
    thresholds = ordered.thresholds[ordered.spread(count + 1)][::-1]
    return thresholds[thresholds < inf]


def bound_risk(
    scores: npt.ArrayLike,
    losses: npt.ArrayLike,
    candidates: Sequence[float] | Floats,
    *,
    alpha: float,
    delta: float,
    binary: bool = False,
    bounds: Bounds = "quality_loss",
) -> RiskBound:
    """The most lenient of the candidate thresholds that is shown to keep the expected loss at most alpha.

    `scores`: (n,), None or NaN always deferred. `losses`: (n,), in 0..1, of each answer if it is kept; a deferred
    request loses nothing, and the mean is over all requests. `candidates` are fixed beforehand or come from other
    examples. They are tested strictest first, each at level delta, up to the first failure: so all that passed hold
    at once with probability 1 - delta. `binary`: the losses are 0 or 1 by their nature (exact match), which allows
    the exact binomial test. Raises ConfigError and DataError where a value is out of range.
    """
    _between_0_and_1("alpha", alpha)
    _between_0_and_1("delta", delta)
    values, loss = np.asarray(scores, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if values.shape != loss.shape or loss.ndim != 1 or not len(loss):
        raise DataError(f"Scores and losses must be one number for each example, not {values.shape} and {loss.shape}.")
    if not ((loss >= 0) & (loss <= 1)).all() or (binary and not np.isin(loss, (0, 1)).all()):
        raise DataError(f"Losses must be {'0 or 1' if binary else 'between 0 and 1'}.")
    strictest_first = np.unique(np.asarray(candidates, dtype=np.float64))[::-1]
    strictest_first = strictest_first[strictest_first < inf]
    if not len(strictest_first) or np.isnan(strictest_first).any():
        raise ConfigError("'candidates' must be at least one threshold below +inf, and none NaN.")
    kept, totals = _kept(values, loss, strictest_first)
    p = p_values(totals, len(loss), alpha, binary=binary)
    passed = int(np.argmax(np.append(p, inf) > delta))
    tested = tuple(
        Tested(float(strictest_first[k]), float(totals[k] / len(loss)), float(p[k]))
        for k in range(min(passed + 1, len(p)))
    )
    needed = examples_needed(tested[-1].risk, alpha, delta) if passed < len(p) else None
    return RiskBound(
        threshold=tested[passed - 1].threshold if passed else inf,
        alpha=alpha,
        delta=delta,
        examples=len(loss),
        bounds=bounds,
        risk=tested[passed - 1].risk if passed else 0.0,
        rate=1 - float(kept[passed - 1]) / len(loss) if passed else 1.0,
        tested=tested,
        needed=needed,
        problem=None if passed else _why(tested[0], len(loss), alpha, delta, needed),
    )


def _kept(scores: Floats, losses: Floats, thresholds: Floats) -> tuple[Floats, Floats]:
    """How many examples each threshold keeps, and their summed losses."""
    defined = ~np.isnan(scores)
    index = np.argsort(scores[defined])
    above = np.append(np.cumsum(losses[defined][index][::-1])[::-1], 0.0)
    first = np.searchsorted(scores[defined][index], thresholds)
    return (defined.sum() - first).astype(np.float64), above[first]


def _why(strictest: Tested, n: int, alpha: float, delta: float, needed: int | None) -> str:
    problem = (
        f"{n} examples cannot show that the expected loss is at most {alpha:g} with probability {1 - delta:g}: "
        f"already the strictest threshold, {strictest.threshold:.6g}, has a mean loss of {strictest.risk:.4f} "
        f"(p = {strictest.p_value:.3f})"
    )
    if needed is None:
        return problem + ", which more examples would hardly change."
    return problem + f". {needed} examples with that mean loss would do."


def _between_0_and_1(name: str, value: float, *, ends: bool = False) -> None:
    if not (0 <= value <= 1 if ends else 0 < value < 1):
        raise ConfigError(f"{name!r} must be {'from 0 to 1' if ends else 'above 0 and below 1'}, not {value}.")
