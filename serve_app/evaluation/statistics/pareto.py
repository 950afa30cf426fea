"""Cascades of any number of tiers: where vectors of thresholds lead, and which of them are worth having.

With one tier before the target the front is a part of the cost curve. With more, the later tiers' thresholds are put
on a grid; for each choice of them the rest of the cascade is one fixed "target" of the first tier, with a curve.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from serve_app.evaluation.statistics.curves import Floats, Integers, order

BLOCK_BYTES = 1_000_000
"""Size of an array over the examples and some of the later tiers' thresholds, of which a few are held at once."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedTier:
    """One tier on n recorded examples, all arrays of shape (n,).

    `scores`: the agreement, NaN if it is undefined (deferred by every threshold). `selected`: quality of the selected
    answer, a number everywhere. `cost`: scorer and members that no earlier tier has asked, paid by each request that
    gets here, any unit.
    """

    scores: Floats
    selected: Floats
    cost: Floats

    def take(self, index: Integers) -> "RecordedTier":
        """Return the same tier on some of the examples."""
        return RecordedTier(self.scores[index], self.selected[index], self.cost[index])


@dataclass(frozen=True, slots=True, eq=False)
class RecordedTarget:
    """The target on n recorded examples: quality and cost, (n,) each, the cost in the tiers' unit."""

    quality: Floats
    cost: Floats

    def take(self, index: Integers) -> "RecordedTarget":
        """Return the same target on some of the examples."""
        return RecordedTarget(self.quality[index], self.cost[index])


@dataclass(frozen=True, slots=True)
class Setting:
    """Means over all examples under a vector of thresholds, one for each tier but the target."""

    thresholds: tuple[float, ...]
    cost: float
    quality: float
    deferred: float
    """The share of requests that the first tier defers."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a vector of thresholds leads to on n examples, (n,) each, and the means.

    `accepted`: by any tier before the target.
    """

    accepted: npt.NDArray[np.bool_]
    quality: Floats
    cost: Floats
    setting: Setting


def outcome(tiers: Sequence[RecordedTier], target: RecordedTarget, thresholds: Sequence[float]) -> Outcome:
    """Send every example down the tiers: accepted where score >= threshold, else on to the next. O(n tiers)."""
    quality, cost = target.quality, target.cost
    accepts = accepted = np.zeros(len(quality), dtype=np.bool_)
    for tier, threshold in zip(reversed(tiers), reversed(thresholds), strict=True):
        accepts, quality, cost = _behind(tier, threshold, quality, cost)
        accepted = accepted | accepts
    means = Setting(tuple(thresholds), float(cost.mean()), float(quality.mean()), float(1 - accepts.mean()))
    return Outcome(accepted, quality, cost, means)


def run(tiers: Sequence[RecordedTier], target: RecordedTarget, thresholds: Sequence[float]) -> Setting:
    """Return the means of `outcome`."""
    return outcome(tiers, target, thresholds).setting


def _behind(
    tier: RecordedTier, threshold: float, quality: Floats, cost: Floats
) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
    """Return which examples a tier keeps, and (n,) quality and cost of the cascade from it on, given those after it."""
    accepts = tier.scores >= threshold
    return accepts, np.where(accepts, tier.selected, quality), tier.cost + np.where(accepts, 0.0, cost)


def answered_by(scores: Sequence[Floats], thresholds: Sequence[float]) -> Integers:
    """Return the tier that answers each example, (n,), counted from 0; the number of tiers means the target."""
    tiers = np.full(len(scores[0]), len(scores), dtype=np.intp)
    for number in reversed(range(len(scores))):
        tiers[scores[number] >= thresholds[number]] = number
    return tiers


def even_path(scores: Sequence[Floats], count: int, resolution: float = 0.0) -> Floats:
    """Return (p, tiers) thresholds, p <= count, on the way from "keep what can be kept" to "defer all".

    At each step every tier would defer the same share of the examples that it can keep, whether they get there or
    not: so no threshold falls along the path, and no request gets less far. With one tier and count > 2n these are all
    its thresholds.
    """
    orders = [order(column, resolution) for column in scores]
    return np.unique(np.stack([tier.thresholds[tier.steps(count)] for tier in orders], axis=1), axis=0)


def arrivals(scores: Sequence[Floats], path: Floats) -> Integers:
    """Return (tiers + 1, n): the first vector of a path under which each example gets to each tier, then the target.

    No threshold may fall along the path; `len(path)` means never. O(n tiers log p).
    """
    begins = [np.zeros(len(scores[0]), dtype=np.intp)]
    for tier, thresholds in zip(scores, path.T, strict=True):
        deferred = np.where(np.isnan(tier), 0, np.searchsorted(thresholds, tier, side="right"))
        begins.append(np.maximum(begins[-1], deferred))
    return np.stack(begins)


def front(costs: npt.ArrayLike, qualities: npt.ArrayLike) -> Integers:
    """Return the Pareto front of p points, as indices by rising cost (and quality). Exact, O(p log p).

    A point is off it if another costs no more and is no worse, and better in one of the two. Of equals the first stays.
    """
    cost, quality = np.asarray(costs, dtype=np.float64), np.asarray(qualities, dtype=np.float64)
    by_cost = np.lexsort((-quality, cost))
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(quality[by_cost])[:-1]])
    return by_cost[quality[by_cost] > best_before]


def front_of(
    tiers: Sequence[RecordedTier],
    target: RecordedTarget,
    points: int | None = 101,
    grid: int = 21,
    resolution: float = 0.0,
) -> list[Setting]:
    """Return the Pareto front over the thresholds of one cascade, cheapest first.

    `points`: at most that many thresholds for the first tier, evenly spread over its deferral rates, None for all;
    `grid`: for each later one. `resolution` as for `order`. O((n + points log points) grid ^ (tiers - 1)).
    """
    first = tiers[0]
    ordered = order(first.scores, resolution)
    indices = np.flatnonzero(ordered.reachable) if points is None else ordered.spread(points)
    thresholds, rates = ordered.thresholds[indices].tolist(), ordered.rates[indices].tolist()
    settings: list[Setting] = []
    rests = _rests(tiers[1:], target, grid, resolution)
    while block := list(islice(rests, max(1, BLOCK_BYTES // (8 * len(first.scores))))):
        later, quality, cost = zip(*block, strict=True)
        costs = ordered.means(first.cost, first.cost + np.stack(cost))[:, indices].ravel()
        qualities = ordered.means(first.selected, np.stack(quality))[:, indices].ravel()
        for point in front(costs, qualities):
            later_index, k = divmod(point, len(indices))
            vector = (thresholds[k], *later[later_index])
            settings.append(Setting(vector, float(costs[point]), float(qualities[point]), rates[k]))
        settings = pruned(settings)
    return settings


def _rests(
    tiers: Sequence[RecordedTier], target: RecordedTarget, grid: int, resolution: float
) -> Iterator[tuple[tuple[float, ...], Floats, Floats]]:
    """Yield threshold vectors of the later tiers, with the (n,) quality and cost that they lead to."""
    if not tiers:
        yield (), target.quality, target.cost
        return
    ordered = order(tiers[0].scores, resolution)
    thresholds = ordered.thresholds[ordered.spread(grid)]
    for later, quality, cost in _rests(tiers[1:], target, grid, resolution):
        for threshold in thresholds:
            yield (float(threshold), *later), *_behind(tiers[0], threshold, quality, cost)[1:]


def pruned(settings: Sequence[Setting]) -> list[Setting]:
    """Return the settings on the Pareto front of (cost, quality), cheapest first."""
    best = front([setting.cost for setting in settings], [setting.quality for setting in settings])
    return [settings[k] for k in best]
