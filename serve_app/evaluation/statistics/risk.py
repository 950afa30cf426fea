"""Thresholds that bound a risk for all traffic like the examples, with a probability that is chosen.

Fixed-sequence testing of Learn-then-Test (Angelopoulos et al. 2021, arXiv 2110.01052), along a path of thresholds, one
for each tier but the target, that is fixed beforehand. A single tier whose target loses nothing has a loss that can
only fall as the threshold rises: then the path may also be all thresholds of the examples themselves, as for
risk-controlling prediction sets (Bates et al. 2021, arXiv 2101.02703, theorem 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np
import numpy.typing as npt

from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.statistics.betting import betting_p_values, blocks, examples_needed
from serve_app.evaluation.statistics.binomial import binomial_cdf, binomial_interval
from serve_app.evaluation.statistics.curves import Floats, Integers, column
from serve_app.evaluation.statistics.pareto import arrivals, even_path
from serve_app.evaluation.statistics.thresholds import RESOLUTION, between_0_and_1

Bounds = Literal["quality_loss", "quality_difference", "disagreement", "error"]
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
    """`quality_loss`: max(0, Q_target - Q_cascade). `quality_difference`: Q_target - Q_cascade. `error`: 1 - Q_cascade.
    `disagreement`: with the target, which may itself be wrong."""
    risk: float
    """The mean loss on the examples at the thresholds."""
    rate: float
    """The share of the examples that the first tier defers."""
    tested: tuple[Tested, ...]
    """The candidates tested, strictest first; the last one failed, unless all passed."""
    needed: int | None
    """About so many examples like these would let the failed candidate pass; None if none failed, or none would."""
    problem: str | None
    """A sentence for the user if no candidate passed, else None."""

    @property
    def met(self) -> bool:
        return self.problem is None

    @property
    def rate_interval(self) -> tuple[float, float]:
        """Return the 95% Clopper-Pearson interval of the first tier's deferral rate on traffic like the examples."""
        return binomial_interval(round(self.rate * self.examples), self.examples)


def quality_losses(selected: npt.ArrayLike, target: npt.ArrayLike) -> Floats:
    """Return the loss of each selected answer, (n,): max(0, Q_target - Q_selected).

    Raises DataError unless Q is in 0..1.
    """
    return np.maximum(0.0, quality_differences(selected, target))


def quality_differences(selected: npt.ArrayLike, target: npt.ArrayLike) -> Floats:
    """Return Q_target - Q_selected, (n,): negative if the selected answer is better.

    Raises DataError unless Q is in 0..1.
    """
    selected_quality, target_quality = _qualities(selected, target)
    return target_quality - selected_quality


def _qualities(selected: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Floats, Floats]:
    qualities = np.asarray(selected, dtype=np.float64), np.asarray(target, dtype=np.float64)
    for name, quality in zip(("selected", "target"), qualities, strict=True):
        if not ((quality >= 0) & (quality <= 1)).all():
            raise DataError(f"{name!r} must be qualities between 0 and 1, scaled if need be.")
    return qualities


def disagreement_losses(similarities: npt.ArrayLike) -> Floats:
    """Return 1 - similarity of the selected answer to the target's, (n,), within 0..1. Needs no labels."""
    return np.clip(1 - np.asarray(similarities, dtype=np.float64), 0.0, 1.0)


def candidate_path(scores: Sequence[Floats], count: int = 100, *, defer_all: bool = False) -> Floats:
    """Return at most `count` vectors of thresholds to test, (p, tiers), strictest first, with or without "defer all".

    Under each vector every tier defers the same share of the examples. They must not be those that the risk bound is
    tested on, or the guarantee is lost; `all_thresholds` is the exception. Labels are not needed. See `even_path`.
    """
    path = even_path(scores, count + 1, RESOLUTION)[::-1]
    return path if defer_all else path[(path < inf).any(axis=1)]


def all_thresholds(scores: Floats) -> Floats:
    """Return all thresholds of a single tier but +inf, (p, 1), strictest first.

    The risk bound may be tested on the same (n,) examples if no example loses more under a stricter threshold.
    """
    return candidate_path([scores], 2 * len(scores) + 1)


def from_best(scores: Sequence[Floats], losses: Sequence[Floats], target: Floats, candidates: Floats) -> Floats:
    """Return the candidates from the one with the least mean loss on: the target may not be the best that there is.

    `losses`: (n,) of each tier; `target`: (n,). The examples must not be those that the risk bound is tested on.
    """
    begins = arrivals(scores, candidates[::-1])
    means = _losses(begins, [*losses, target], len(candidates) - 1 - np.arange(len(candidates))).mean(axis=1)
    return candidates[int(np.argmin(means)) :]


def bound_risk(
    scores: Sequence[npt.ArrayLike],
    losses: Sequence[npt.ArrayLike],
    candidates: Floats,
    *,
    alpha: float,
    delta: float,
    binary: bool = False,
    bounds: Bounds = "quality_loss",
    target_losses: npt.ArrayLike | None = None,
) -> RiskBound:
    """Return the most lenient candidate that is shown to keep the expected loss at most alpha.

    `scores`: (n,) of each tier, None or NaN always deferred. `losses`: (n,) of each tier, in -1..1, of each answer if
    the tier's is kept; what gets to the target has `target_losses`, (n,), or loses nothing, and the mean is over all
    requests. The order of the examples must say nothing about their losses. `candidates`: (p, tiers), strictest first,
    from `candidate_path` or, for losses of one tier that are not negative and a target that loses nothing, from
    `all_thresholds`. They are tested in turn, each at level delta, up to the first failure: so all that passed hold at
    once with probability 1 - delta. `binary`: the losses are 0 or 1 by their nature (exact match), so the test is the
    exact binomial one; otherwise it is `betting_p_values`. Raises ConfigError and DataError if a value is out of range.
    """
    between_0_and_1("alpha", alpha)
    between_0_and_1("delta", delta)
    values, loss = np.asarray(scores, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if values.shape != loss.shape or loss.ndim != 2 or not loss.size:
        raise DataError(f"Scores and losses must be one number for each example, not {values.shape} and {loss.shape}.")
    target = column("target_losses", np.zeros(loss.shape[1]) if target_losses is None else target_losses, loss[0])
    loss = np.concatenate([loss, target[np.newaxis]])
    if not (np.abs(loss) <= 1).all() or (binary and not np.isin(loss, (0, 1)).all()):
        raise DataError(f"Losses must be {'0 or 1' if binary else 'between -1 and 1'}.")
    _check(candidates)
    begins, n = arrivals(list(values), candidates[::-1]), loss.shape[1]
    tail = binomial_cdf(n, alpha) if binary else None
    tested: list[Tested] = []
    needed = None
    for block in blocks(len(candidates), n):
        rows = _losses(begins, loss, len(candidates) - 1 - np.arange(block.start, block.stop))
        totals = rows.sum(axis=1)
        p = betting_p_values(rows, alpha, delta) if tail is None else tail[totals.astype(np.intp)]
        failed = int(np.argmax(np.append(p, inf) > delta))
        vectors = candidates[block][: failed + 1].tolist()
        tested += [
            Tested(tuple(vector), float(total / n), float(value))
            for vector, total, value in zip(vectors, totals, p, strict=False)
        ]
        if failed < len(p):
            needed = examples_needed(rows[failed], alpha, delta)
            break
    passed = [candidate for candidate in tested if candidate.p_value <= delta]
    return RiskBound(
        thresholds=passed[-1].thresholds if passed else (inf,) * len(values),
        alpha=alpha,
        delta=delta,
        examples=n,
        bounds=bounds,
        risk=passed[-1].risk if passed else float(target.mean()),
        rate=float((begins[1] <= len(candidates) - len(passed)).mean()) if passed else 1.0,
        tested=tuple(tested),
        needed=needed,
        problem=None if passed else _why(bounds, tested[0], n, alpha, delta, needed),
    )


def _check(candidates: Floats) -> None:
    if candidates.ndim != 2 or not len(candidates) or np.isnan(candidates).any():
        raise ConfigError("'candidates' must be at least one vector of thresholds, and none NaN.")
    if (candidates[1:] > candidates[:-1]).any():
        raise ConfigError("'candidates' must be strictest first: no threshold may rise.")


def _losses(begins: Integers, losses: Sequence[Floats] | Floats, vectors: Integers) -> Floats:
    """Return the (n,) losses under each of c vectors of a path, (c, n), given by their numbers from the most lenient.

    `losses`: (n,) of each tier, then of the target. Example i is answered by tier k from vector `begins[k, i]` up to
    before `begins[k + 1, i]`, and by the target from the last of them on.
    """
    number = vectors[:, np.newaxis]
    under = np.where(begins[-1] <= number, losses[-1], 0.0)
    for loss, begin, end in zip(losses, begins, begins[1:], strict=False):
        under += np.where((begin <= number) & (number < end), loss, 0.0)
    return under


def _why(bounds: Bounds, first: Tested, n: int, alpha: float, delta: float, needed: int | None) -> str:
    thresholds = ", ".join(f"{threshold:.6g}" for threshold in first.thresholds)
    goal, mean = f"expected loss is at most {alpha:g}", f"loss of {first.risk:.4f}"
    if bounds == "error":
        goal, mean = f"mean quality is at least {1 - alpha:g}", f"quality of {1 - first.risk:.4f}"
    which = "best" if bounds == "error" else "strictest"
    subject = (
        f"{which} threshold, {thresholds}, has"
        if len(first.thresholds) == 1
        else f"{which} thresholds, {thresholds}, have"
    )
    problem = (
        f"{n} examples to calibrate on cannot show that the {goal} with probability {1 - delta:g}: already the "
        f"{subject} a mean {mean} (p = {first.p_value:.3f})"
    )
    if needed is None:
        return problem + ", which more examples would hardly change."
    return problem + f". About {needed} such examples would do."
