"""Scores and qualities per example -> deferral curves, their area, and quality against cost or latency.

A curve defers the least sure requests first. Examples with equal scores are deferred together by any threshold, so
between two thresholds the curve is a straight line: the expected value if ties are broken at random, or if each of
the two thresholds is used for a share of the requests. At points that a threshold reaches, the value is its own.

Sorting is O(n log n) once; every curve and area after that is O(n).
"""

from dataclasses import dataclass
from math import inf, nan
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from serve_app.errors import DataError

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.intp]

ROUNDING = 1e-12
"""Relative tolerance for float summation order, so that rounding never turns a met target into a missed one."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """n examples in the order of deferral, in g groups of equal score.

    Point k of a curve, 0 <= k <= g, defers the first k groups.
    """

    index: Integers
    """(n,): the examples, least sure first."""
    ends: Integers
    """(g + 1,): how many examples point k defers; from 0 to n."""
    thresholds: Floats
    """(g + 1,): `score >= threshold` keeps just what point k keeps; NaN if no threshold does.

    From -inf (keep all) to +inf (defer all). An undefined score is always deferred, so with any of them no threshold
    leads to point 0, and the -inf is at point 1.
    """

    @property
    def rates(self) -> Floats:
        """Return the share of examples that each point defers, shape (g + 1,)."""
        return self.ends / len(self.index)

    @property
    def reachable(self) -> npt.NDArray[np.bool_]:
        """Return whether a threshold leads to each point, shape (g + 1,)."""
        return ~np.isnan(self.thresholds)

    def means(self, selected: Floats, deferred: Floats) -> Floats:
        """Return the mean at each point, (g + 1,): of selected[i] if example i is accepted, else of deferred[i].

        `selected` is (n,). `deferred` is (n,), or (r, n) for r ways to answer what is deferred; then the means are
        (r, g + 1).
        """
        before, after = _running(deferred[..., self.index]), _running(selected[self.index])
        means: Floats = (before[..., self.ends] + after[-1] - after[self.ends]) / len(self.index)
        return means

    def steps(self, count: int) -> Integers:
        """Return the reachable points nearest to `count` even rates, (count,), from the lowest reachable rate to 1."""
        reachable = np.flatnonzero(self.reachable)
        rates = self.rates[reachable]
        nearest = np.searchsorted((rates[1:] + rates[:-1]) / 2, np.linspace(rates[0], 1, count))
        return reachable[nearest]

    def spread(self, count: int) -> Integers:
        """Return at most `count` reachable points, evenly spread over the deferral rate, with both ends."""
        return np.unique(self.steps(count))


def _running(values: Floats) -> Floats:
    """Return the sums of the first 0, 1, ..., n of (..., n) values, shape (..., n + 1)."""
    return np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)


def order(scores: npt.ArrayLike, resolution: float = 0.0) -> Order:
    """Order examples by (n,) scores; higher is surer, None or NaN is undefined and comes first.

    Scores that differ by no more than `resolution` from the next one count as equal: no threshold is put between
    values that floating-point noise could swap. Raises DataError if there are no scores, or if one is +inf.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise DataError(
            f"Scores must be one number (or None) for each of n >= 1 examples, not of shape {values.shape}."
        )
    if np.isposinf(values).any():
        raise DataError("A score of +inf could not be deferred by any threshold.")
    undefined = np.isnan(values)
    index = np.lexsort((values, ~undefined))
    ranked = values[index][undefined.sum() :]
    with np.errstate(invalid="ignore", over="ignore"):  # -inf less -inf is NaN, and not a step up
        steps = np.flatnonzero(np.diff(ranked) > resolution) + 1
    thresholds = [-inf, *_between(ranked[steps - 1], ranked[steps])] if len(ranked) else []
    ends = undefined.sum() + steps
    if len(ranked) and undefined.any():
        ends = np.concatenate([[undefined.sum()], ends])
    return Order(
        index,
        np.concatenate([[0], ends, [len(values)]]).astype(np.intp),
        np.array([nan] * bool(undefined.any()) + thresholds + [inf]),
    )


def _between(low: Floats, high: Floats) -> Floats:
    """Return thresholds that defer `low` and keep `high`: midway, if floating point has a number there."""
    finite = np.where(np.isinf(low), high - np.maximum(1.0, np.abs(high)), low)
    middle = finite / 2 + high / 2
    return np.where((middle > low) & (middle <= high), middle, high)


@dataclass(frozen=True, slots=True)
class Point:
    """Where one threshold leads: the deferral rate, the mean of x (a cost, or the rate again) and the mean quality."""

    threshold: float
    rate: float
    x: float
    quality: float


@dataclass(frozen=True, slots=True)
class AtBudget:
    """What a budget buys. `quality` mixes the two thresholds around the budget at random; `point` is one threshold."""

    budget: float
    quality: float
    point: Point


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Mean quality against x, as g + 1 points joined by straight lines.

    x is the deferral rate (0..1) of a deferral curve, or a mean cost a request in any unit, latency included.
    """

    x: Floats
    quality: Floats
    rates: Floats
    thresholds: Floats
    """NaN at points that no threshold reaches."""

    @property
    def area(self) -> float:
        """Return the area under the curve: of a deferral curve the paper's AUC, with ties broken at random."""
        return float(np.trapezoid(self.quality, self.x))

    @property
    def reachable(self) -> Integers:
        """Return the points that a threshold reaches, in order of x."""
        return np.flatnonzero(~np.isnan(self.thresholds))

    @property
    def floor(self) -> float:
        """Return the least x that a threshold reaches: members and scorer are paid for every request."""
        return float(self.x[self.reachable[0]])

    def point(self, k: int) -> Point:
        """Return point k; its threshold is NaN if none reaches it."""
        return Point(*(float(part[k]) for part in (self.thresholds, self.rates, self.x, self.quality)))

    def within(self, budget: float) -> AtBudget | None:
        """Return the quality for a mean x of at most `budget`, or None below the floor."""
        reachable = self.reachable
        affordable = reachable[self.x[reachable] <= budget + ROUNDING * abs(budget)]
        if not len(affordable):
            return None
        return AtBudget(budget, float(np.interp(budget, self.x, self.quality)), self.point(affordable[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """All thresholds of one cascade at once: the order of deferral, and the quality of both possible answers."""

    order: Order
    selected: Floats
    """(n,): quality of the answer that goes back if the request is accepted."""
    target: Floats
    """(n,): quality of the target's answer."""

    @property
    def area(self) -> float:
        """Return the AUC over the deferral rate."""
        return self.deferral_curve().area

    def deferral_curve(self) -> Curve:
        """Return quality against deferral rate."""
        rates = self.order.rates
        return Curve(rates, self.order.means(self.selected, self.target), rates, self.order.thresholds)

    def standard_errors(self) -> Floats:
        """Return the standard error of the mean quality at each point of the deferral curve, shape (g + 1,).

        Of the threshold that leads to the point: the standard deviation over the examples, over the root of n.
        """
        means = self.order.means(self.selected, self.target)
        squares = self.order.means(self.selected**2, self.target**2)
        errors: Floats = np.sqrt(np.maximum(squares - means**2, 0) / len(self.selected))
        return errors

    def cost_curve(self, tier_cost: npt.ArrayLike, target_cost: npt.ArrayLike) -> Curve:
        """Return quality against mean cost, in the unit of the (n,) costs; seconds of waiting give the latency curve.

        Every request pays `tier_cost` (members and scorer), a deferred one `target_cost` on top.
        """
        tier, target = column("tier_cost", tier_cost, self.selected), column("target_cost", target_cost, self.selected)
        if (target < 0).any():
            raise DataError("'target_cost' must not be negative.")
        quality = self.order.means(self.selected, self.target)
        return Curve(self.order.means(tier, tier + target), quality, self.order.rates, self.order.thresholds)

    def areas(self, counts: Integers) -> Floats:
        """Return the AUC of each of c resamples, (c,), from (c, n) counts of the examples. O(c n), without sorting.

        An example that is deferred from rate r on adds (1 - r) of its target - selected to the area of keeping all; the
        examples of a group, and the copies of one, are deferred at the mean of the rates where theirs begin and end.
        """
        drawn = counts.take(self.order.index, axis=1)
        ends = np.cumsum(drawn, axis=1)
        totals = ends[:, -1]
        gains = drawn * (self.target - self.selected)[self.order.index]
        if len(self.order.ends) <= ends.shape[1]:  # there are ties: from here on a column is a group
            ends = ends.take(self.order.ends[1:] - 1, axis=1)
            gains = np.add.reduceat(gains, self.order.ends[:-1], axis=1)
            drawn = np.diff(ends, axis=1, prepend=0)
        gained = np.einsum("cg,cg->c", gains, totals[:, None] - ends + drawn / 2) / totals
        areas: Floats = (weighted(counts, self.selected) + gained) / totals
        return areas


def weighted(counts: Integers, values: Floats) -> Floats:
    """Return sums of (n,) values over each of c resamples, shape (c,).

    Not by `@`: BLAS threads that wait for each other are slower.
    """
    sums: Floats = np.einsum("cn,n->c", counts, values)
    return sums


def sweep(scores: npt.ArrayLike, selected: npt.ArrayLike, target: npt.ArrayLike, resolution: float = 0.0) -> Sweep:
    """Build a sweep from (n,) scores (None or NaN: always deferred) and (n,) qualities of both answers, in any unit.

    The area runs from deferral rate 0, so `selected` must be a number even if no threshold keeps the answer: 0, or
    that of the answer which the cascade would fall back to. Raises DataError on other lengths and on missing numbers.
    """
    ordered = order(scores, resolution)
    qualities = column("selected", selected, ordered.index), column("target", target, ordered.index)
    return Sweep(ordered, *qualities)


def column(name: str, values: npt.ArrayLike, like: npt.NDArray[np.generic]) -> Floats:
    """Return `values` as one finite number per example, in the shape of `like`. Raises DataError if they are not."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != like.shape:
        raise DataError(f"{name!r} must have shape {like.shape}, one number for each example, not {numbers.shape}.")
    if not np.isfinite(numbers).all():
        raise DataError(f"{name!r} must be finite, but example {int(np.argmin(np.isfinite(numbers)))} is not.")
    return numbers


def at_budgets(
    curve: Curve, target_cost: float, shares: tuple[float, ...] = (0.1, 0.2, 0.4, 0.6)
) -> dict[float, AtBudget | None]:
    """Return what each share of the target's mean cost buys; None if it is below the floor, or the target is free."""
    return {share: curve.within(share * target_cost) if target_cost > 0 else None for share in shares}
