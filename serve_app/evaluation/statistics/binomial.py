"""Binomial tails and intervals.

The tail is summed here from log-gammas: one table of n + 1 numbers serves all p-values of a calibration. scipy, 35 MB
to download, would be needed for nothing else.
"""

from collections.abc import Callable
from functools import lru_cache
from math import lgamma, log, log1p

import numpy as np

from serve_app.evaluation.statistics.curves import Floats


def binomial_cdf(n: int, p: float) -> Floats:
    """Return P(X <= k) for X ~ Binomial(n, p) and k = 0 ... n, shape (n + 1,), with 0 < p < 1. O(n)."""
    k = np.arange(n + 1)
    cdf: Floats = np.minimum(np.cumsum(np.exp(_log_choices(n) + k * log(p) + (n - k) * log1p(-p))), 1.0)
    return cdf


@lru_cache(maxsize=4)
def _log_choices(n: int) -> Floats:
    """Return the logarithms of n over k, shape (n + 1,)."""
    log_factorials = np.fromiter(map(lgamma, range(1, n + 2)), dtype=np.float64)
    choices: Floats = log_factorials[n] - log_factorials - log_factorials[::-1]
    choices.flags.writeable = False
    return choices


def binomial_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a share, from counts. O(the smaller of successes and failures)."""
    if 2 * successes > n:
        low, high = binomial_interval(n - successes, n, level)
        return 1 - high, 1 - low
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else _bisected(lambda p: 1 - _at_most(successes - 1, n, p) < tail)
    return low, _bisected(lambda p: _at_most(successes, n, p) > tail)


def _at_most(successes: int, n: int, p: float) -> float:
    """Return P(X <= successes) for X ~ Binomial(n, p), with 0 < p < 1."""
    k = np.arange(successes + 1)
    return min(1.0, float(np.exp(_log_choices(n)[k] + k * log(p) + (n - k) * log1p(-p)).sum()))


def _bisected(below: Callable[[float], bool]) -> float:
    """Return the point in 0..1 up to which `below` holds, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return low
