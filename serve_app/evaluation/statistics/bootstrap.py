"""Paired bootstrap: intervals for means, areas and their differences.

All statistics see the same resamples, so the difference of two of them has an interval of its own, which is what a
comparison needs: examples that are hard for one method are mostly hard for the other.

A resample is a count for each example. Each statistic answers for a block of them at once on arrays that it sorted
once: O(n) a statistic and resample, whatever the number of ties.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from serve_app.evaluation.statistics.curves import Floats, Integers, weighted

Statistic: TypeAlias = Callable[[Integers], Floats]
"""(c, n) counts of n examples in c resamples -> the statistic's (c,) values. `Sweep.areas` is one."""

Key = TypeVar("Key", bound=Hashable)
"""What identifies a statistic: a value of the caller's, such as a pair of its kind and its subject."""

BLOCK_BYTES = 1_000_000
"""Size of a block of resamples, of which a few times as much is held at once: small enough for a CPU's cache."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate on the examples as they are, with a percentile interval of the given level."""

    estimate: float
    low: float
    high: float
    level: float

    def text(self) -> str:
        """Return the estimate with its interval, as every report shows it."""
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def signed_text(self) -> str:
        """Return the same with signs, for a difference."""
        return f"{self.estimate:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


@dataclass(frozen=True, slots=True, eq=False)
class Resampled(Generic[Key]):
    """Statistics by key: on the examples as they are, and in each of B resamples, the same for all."""

    estimates: Mapping[Key, float]
    values: Mapping[Key, Floats]
    """(B,) each."""

    def interval(self, key: Key, level: float = 0.95) -> Interval:
        """Return the interval of one statistic."""
        return _interval(self.estimates[key], self.values[key], level)

    def difference(self, key: Key, less: Key, level: float = 0.95) -> Interval:
        """Return the interval of statistic `key` minus statistic `less`, paired by resample."""
        estimate = self.estimates[key] - self.estimates[less]
        return _interval(estimate, self.values[key] - self.values[less], level)


def _interval(estimate: float, values: Floats, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level)


def bootstrap(
    statistics: Mapping[Key, Statistic],
    examples: int,
    *,
    resamples: int = 2000,
    seed: int = 0,
    block_bytes: int = BLOCK_BYTES,
) -> Resampled[Key]:
    """Compute each statistic of n = `examples` examples in B = `resamples` draws of n with replacement.

    The seed alone decides the draws: neither `block_bytes` nor the statistics do.
    """
    whole = np.ones((1, examples), dtype=np.intp)
    estimates = {key: float(statistic(whole)[0]) for key, statistic in statistics.items()}
    values = {key: np.empty(resamples) for key in statistics}
    for block, counts in draws(examples, resamples, seed, block_bytes):
        for key, statistic in statistics.items():
            values[key][block] = statistic(counts)
    return Resampled(estimates, values)


def draws(examples: int, resamples: int, seed: int, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[slice, Integers]]:
    """Yield blocks of resamples: the slice of all resamples, and its (c, n) counts of each example."""
    generator = np.random.default_rng(seed)
    size = max(1, block_bytes // (8 * examples))
    for start in range(0, resamples, size):
        block = slice(start, min(start + size, resamples))
        samples = [generator.integers(examples, size=examples) for _ in range(block.start, block.stop)]
        yield block, np.stack([np.bincount(indices, minlength=examples) for indices in samples])


def mean_of(values: npt.ArrayLike) -> Statistic:
    """Return the mean of (n,) values as a statistic: a model's quality, for instance."""
    column = np.asarray(values, dtype=np.float64)
    return lambda counts: weighted(counts, column) / counts.sum(axis=1)


def mean_where(values: npt.ArrayLike, selected: npt.NDArray[np.bool_]) -> Statistic:
    """Return the mean of the selected ones of (n,) values as a statistic; 0 in a resample that has none of them."""
    total = np.where(selected, np.asarray(values, dtype=np.float64), 0.0)
    share = selected.astype(np.float64)
    return lambda counts: weighted(counts, total) / np.maximum(weighted(counts, share), 1.0)
