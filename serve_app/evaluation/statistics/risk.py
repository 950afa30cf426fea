"""Thresholds that bound a risk for all traffic like the examples, with a probability that is chosen.

Fixed-sequence testing of Learn-then-Test (Angelopoulos et al. 2021, arXiv 2110.01052), along a path of thresholds, one
for each tier but the target, that is fixed beforehand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np
import numpy.typing as npt

from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.statistics.binomial import binomial_interval, examples_needed, p_values
from serve_app.evaluation.statistics.curves import Floats, Integers
from serve_app.evaluation.statistics.pareto import arrivals, even_path
from serve_app.evaluation.statistics.thresholds import RESOLUTION, between_0_and_1

Bounds = Literal["quality_loss", "disagreement"]
Thresholds = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tested:
    """One candidate: mean loss over all n requests, and the p-value of "the expected loss is over alpha"."""

    thresholds: Thresholds
    risk: float
    p_value: float


@dataclass(frozen=True, slots=True)
class RiskBound:
    """Thresholds under which, with probability 1 - delta over the examples, the expected loss is at most alpha.

    `thresholds` are +inf (defer everything, where the loss is 0) if not even the strictest candidate passed.
    """

    thresholds: Thresholds
    alpha: float
    delta: float
    examples: int
    bounds: Bounds
    """`quality_loss`: max(0, Q_target - Q_cascade). `disagreement`: with the target, which may itself be wrong."""
    risk: float
    """The mean loss on the examples at the thresholds."""
    rate: float
    """The share of the examples that the first tier defers."""
    tested: tuple[Tested, ...]
    """The candidates tested, strictest first; the last one failed, unless all passed."""
    needed: int | None
    """So many examples would let the failed candidate pass, if its mean loss stayed; None if none failed or would."""
    problem: str | None
    """A sentence for the user if no candidate passed, else None."""

    @property
    def met(self) -> bool:
        return self.problem is None

    @property
    def rate_interval(self) -> tuple[float, float]:
        """Return the 95% Clopper-Pearson interval of the first tier's deferral rate on traffic like the examples."""
        return binomial_interval(round(self.rate * self.examples), self.examples)


def quality_losses(kept: npt.ArrayLike, target: npt.ArrayLike) -> Floats:
    """Return the loss of keeping each answer, (n,): max(0, Q_target - Q_kept). Raises DataError unless Q is in 0..1."""
    qualities = np.asarray(kept, dtype=np.float64), np.asarray(target, dtype=np.float64)
    for name, quality in zip(("kept", "target"), qualities, strict=True):
        if not ((quality >= 0) & (quality <= 1)).all():
            raise DataError(f"{name!r} must be qualities between 0 and 1, scaled if need be.")
    return np.maximum(0.0, qualities[1] - qualities[0])


def disagreement_losses(similarities: npt.ArrayLike) -> Floats:
    """Return 1 - similarity of the kept answer to the target's, (n,), within 0..1. Needs no labels."""
    return np.clip(1 - np.asarray(similarities, dtype=np.float64), 0.0, 1.0)


def candidate_path(scores: Sequence[Floats], count: int = 100) -> Floats:
    """Return at most `count` vectors of thresholds to test, (p, tiers), strictest first.

    Under each vector every tier defers the same share of the examples.

    The examples must not be those that the risk bound is tested on, or the guarantee is lost; labels are not needed.
    See `even_path`.
    """
    path = even_path(scores, count + 1, RESOLUTION)[::-1]
    return path[(path < inf).any(axis=1)]


def bound_risk(
    scores: Sequence[npt.ArrayLike],
    losses: Sequence[npt.ArrayLike],
    candidates: Floats,
    *,
    alpha: float,
    delta: float,
    binary: bool = False,
    bounds: Bounds = "quality_loss",
) -> RiskBound:
    """Return the most lenient candidate that is shown to keep the expected loss at most alpha.

    `scores`: (n,) of each tier, None or NaN always deferred. `losses`: (n,) of each tier, in 0..1, of each answer if
    the tier's is kept; what gets to the target loses nothing, and the mean is over all requests. `candidates`:
    (p, tiers), fixed beforehand or from other examples, strictest first. They are tested in turn, each at level delta,
    up to the first failure: so all that passed hold at once with probability 1 - delta. `binary`: the losses are 0 or
    1 by their nature (exact match), which allows the exact binomial test. Raises ConfigError and DataError if a
    value is out of range.
    """
    between_0_and_1("alpha", alpha)
    between_0_and_1("delta", delta)
    values, loss = np.asarray(scores, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if values.shape != loss.shape or loss.ndim != 2 or not loss.size:
        raise DataError(f"Scores and losses must be one number for each example, not {values.shape} and {loss.shape}.")
    if not ((loss >= 0) & (loss <= 1)).all() or (binary and not np.isin(loss, (0, 1)).all()):
        raise DataError(f"Losses must be {'0 or 1' if binary else 'between 0 and 1'}.")
    _check(candidates)
    begins, n = arrivals(list(values), candidates[::-1]), loss.shape[1]
    totals = _totals(begins, loss, len(candidates))[::-1]
    p = p_values(totals, n, alpha, binary=binary)
    passed = int(np.argmax(np.append(p, inf) > delta))
    tested = tuple(
        Tested(tuple(candidates[k].tolist()), float(totals[k] / n), float(p[k])) for k in range(min(passed + 1, len(p)))
    )
    needed = examples_needed(tested[-1].risk, alpha, delta) if passed < len(p) else None
    return RiskBound(
        thresholds=tested[passed - 1].thresholds if passed else (inf,) * len(loss),
        alpha=alpha,
        delta=delta,
        examples=n,
        bounds=bounds,
        risk=tested[passed - 1].risk if passed else 0.0,
        rate=float((begins[1] <= len(candidates) - passed).mean()) if passed else 1.0,
        tested=tested,
        needed=needed,
        problem=None if passed else _why(tested[0], n, alpha, delta, needed),
    )


def _check(candidates: Floats) -> None:
    if (
        candidates.ndim != 2
        or not len(candidates)
        or np.isnan(candidates).any()
        or np.isposinf(candidates).all(1).any()
    ):
        raise ConfigError("'candidates' must be at least one vector of thresholds below +inf, and none NaN.")
    if (candidates[1:] > candidates[:-1]).any():
        raise ConfigError("'candidates' must be strictest first: no threshold may rise.")


def _totals(begins: Integers, losses: Floats, vectors: int) -> Floats:
    """Return the summed losses under each vector of a path, (vectors,), most lenient first.

    Example i is answered by tier k from vector `begins[k, i]` up to before `begins[k + 1, i]`.
    """
    totals = np.zeros(vectors)
    for loss, begin, end in zip(losses, begins, begins[1:], strict=False):
        totals += _after(end, loss, vectors) - _after(begin, loss, vectors)
    return np.maximum(totals, 0.0)


def _after(indices: Integers, losses: Floats, vectors: int) -> Floats:
    """Return the summed losses whose index is greater than each vector's, (vectors,)."""
    sums: Floats = np.bincount(indices, losses, vectors + 1)[:0:-1].cumsum()[::-1]
    return sums


def _why(strictest: Tested, n: int, alpha: float, delta: float, needed: int | None) -> str:
    shown = ", ".join(f"{threshold:.6g}" for threshold in strictest.thresholds)
    named = f"threshold, {shown}, has" if len(strictest.thresholds) == 1 else f"thresholds, {shown}, have"
    problem = (
        f"{n} examples to calibrate on cannot show that the expected loss is at most {alpha:g} with probability "
        f"{1 - delta:g}: already the strictest {named} a mean loss of {strictest.risk:.4f} "
        f"(p = {strictest.p_value:.3f})"
    )
    if needed is None:
        return problem + ", which more examples would hardly change."
    return problem + f". {needed} with that mean loss would do."
