"""Paired bootstrap: intervals for means, areas and their differences, and disjoint parts of the examples.

All statistics see the same resamples, so the difference of two of them has an interval of its own, which is what a
comparison needs: examples that are hard for one method are mostly hard for the other.

A resample is a count for each example. Each statistic answers for a block of them at once on arrays that it sorted
once: O(n) a statistic and resample, whatever the number of ties.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from serve_app.errors import ConfigError
from serve_app.evaluation.statistics.curves import Floats, Integers, weighted

Statistic: TypeAlias = Callable[[Integers], Floats]
"""(c, n) counts of n examples in c resamples -> the statistic's (c,) values. `Sweep.areas` is one."""

BLOCK_BYTES = 1_000_000
"""Size of a block of resamples, of which a few times as much is held at once: small enough for a CPU's cache."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate on the examples as they are, with a percentile interval of the given level."""

    estimate: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """Statistics by name: on the examples as they are, and in each of B resamples, the same for all."""

    estimates: Mapping[str, float]
    values: Mapping[str, Floats]
    """(B,) each."""

    def interval(self, name: str, level: float = 0.95) -> Interval:
        """The interval of one statistic."""
        return _interval(self.estimates[name], self.values[name], level)

    def difference(self, name: str, less: str, level: float = 0.95) -> Interval:
        """The interval of statistic `name` less statistic `less`, paired by resample."""
        estimate = self.estimates[name] - self.estimates[less]
        return _interval(estimate, self.values[name] - self.values[less], level)


def _interval(estimate: float, values: Floats, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level)


def bootstrap(
    statistics: Mapping[str, Statistic],
    examples: int,
    *,
    resamples: int = 2000,
    seed: int = 0,
    block_bytes: int = BLOCK_BYTES,
) -> Resampled:
    """Each statistic of n = `examples` examples in B = `resamples` draws of n with replacement.

    The seed alone decides the draws: neither `block_bytes` nor the statistics do.
    """
    whole = np.ones((1, examples), dtype=np.intp)
    estimates = {name: float(statistic(whole)[0]) for name, statistic in statistics.items()}
    values = {name: np.empty(resamples) for name in statistics}
    for block, counts in draws(examples, resamples, seed, block_bytes):
        for name, statistic in statistics.items():
            values[name][block] = statistic(counts)
    return Resampled(estimates, values)


def draws(examples: int, resamples: int, seed: int, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[slice, Integers]]:
    """Blocks of resamples, as their place among all and (c, n) counts."""
    generator = np.random.default_rng(seed)
    size = max(1, block_bytes // (8 * examples))
    for start in range(0, resamples, size):
        block = slice(start, min(start + size, resamples))
        drawn = [generator.integers(examples, size=examples) for _ in range(block.start, block.stop)]
        yield block, np.stack([np.bincount(one, minlength=examples) for one in drawn])


def mean_of(values: npt.ArrayLike) -> Statistic:
    """The mean of (n,) values as a statistic: a model's quality, for instance."""
    column = np.asarray(values, dtype=np.float64)
    return lambda counts: weighted(counts, column) / counts.sum(axis=1)


def split(examples: int, shares: tuple[float, ...] = (0.5, 0.5), seed: int = 0) -> tuple[Integers, ...]:
    """Disjoint random parts of n examples, as sorted indices: for choosing, calibrating and testing.

    Sizes are `shares` of n, rounded so that all parts together are all examples. Raises ConfigError unless the
    shares are positive and sum to 1.
    """
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise ConfigError(f"Shares must be positive and sum to 1, not {shares}.")
    shuffled = np.random.default_rng(seed).permutation(examples)
    edges = np.rint(np.cumsum(shares)[:-1] * examples).astype(np.intp)
    return tuple(np.sort(part) for part in np.split(shuffled, edges))
