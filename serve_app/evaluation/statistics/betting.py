"""P-values for the mean of bounded losses, by betting against it.

A gambler starts with a capital of 1 and bets, one example after another, that the losses are below alpha. If their mean
is alpha or more, the capital is not expected to grow, so one of c or more is reached with a probability of at most
1 / c (Ville's inequality). Bets follow the variance so far: the steadier the losses, the fewer examples are needed.
"""

from collections.abc import Iterator
from math import ceil, log

import numpy as np

from serve_app.evaluation.statistics.curves import ROUNDING, Floats

BOLDEST = 0.95
"""Share of the largest admissible bet, 1 / (1 - alpha), with which one loss of 1 would take the whole capital."""
BLOCK = 15_000
"""Losses whose bets are in memory at once: few enough for a CPU's cache."""


def betting_p_values(losses: Floats, alpha: float, delta: float) -> Floats:
    """Return p-values of "the expected loss is alpha or more", (c,), of c rows of n independent losses of at most 1.

    The capital process of Waudby-Smith and Ramdas (2024, "Estimating means of bounded random variables by betting"),
    one-sided and with predictable plug-in bets, as by Bates et al. (2021, "Distribution-free, risk-controlling
    prediction sets", proposition 5). Losses may be negative; their order must say nothing about them. The bets are
    tuned to reject at level `delta`; the p-values are valid at every level. O(c n).
    """
    highest = np.maximum(_log_capital(losses, alpha, delta).max(axis=1), 0.0)  # the capital of 1 before the first bet
    p: Floats = np.exp(-highest)
    return p


def _log_capital(losses: Floats, alpha: float, delta: float) -> Floats:
    """Return the logarithm of the capital after each of n examples, (c, n)."""
    n = losses.shape[1]
    counts = np.arange(2, n + 2)
    mean = (0.5 + np.cumsum(losses, axis=1)) / counts
    variance = (0.25 + np.cumsum((losses - mean) ** 2, axis=1)) / counts
    before = np.concatenate([np.full((len(losses), 1), 0.25), variance[:, :-1]], axis=1)
    bets = np.minimum(np.sqrt(2 * log(1 / delta) / (n * before)), BOLDEST / (1 - alpha))
    capital: Floats = np.cumsum(np.log1p(bets * (alpha - losses)), axis=1)
    return capital


def blocks(rows: int, columns: int) -> Iterator[slice]:
    """Yield slices of so many rows that a block of them has about `BLOCK` numbers."""
    size = max(1, BLOCK // columns)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def examples_needed(losses: Floats, alpha: float, delta: float) -> int | None:
    """Return about how many examples with such (n,) losses would show an expected loss below alpha, or None if none do.

    The capital must reach 1 / delta, and grows at most by max over b of mean log(1 + b (alpha - loss)) an example;
    with losses of 0 and 1 that is the divergence KL(mean || alpha).
    """
    if losses.mean() >= alpha * (1 - ROUNDING):
        return None
    low, high = 0.0, BOLDEST / (1 - alpha)
    for _ in range(50):  # the growth is concave in the bet: bisection of its slope
        bet = (low + high) / 2
        rising = ((alpha - losses) / (1 + bet * (alpha - losses))).mean() > 0
        low, high = (bet, high) if rising else (low, bet)
    growth = float(np.log1p(low * (alpha - losses)).mean())
    return ceil(log(1 / delta) / growth) if growth > 0 else None
