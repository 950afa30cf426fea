"""Whether two statistics of the same examples differ: a paired test, and a correction for several of them."""

from collections.abc import Sequence

import numpy as np

from serve_app.evaluation.statistics.bootstrap import Key, Resampled


def paired_p_value(resampled: Resampled[Key], key: Key, less: Key) -> float:
    """Return the two-sided p-value of "both statistics are equal", from a paired bootstrap.

    Twice the smaller share of resamples in which the difference is at most 0, or at least 0, with one more counted for
    the sample itself (Davison and Hinkley 1997, section 4.2). It is never below 2 / (resamples + 1).
    """
    differences = resampled.values[key] - resampled.values[less]
    fewest = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (1 + fewest) / (1 + len(differences)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number (Holm 1979), in their own order.

    To call those significant that are at most alpha errs with probability alpha at most, in any of them.
    """
    ordered = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    factors = np.arange(len(p_values), 0, -1)
    adjusted[ordered] = np.minimum(np.maximum.accumulate(factors * np.asarray(p_values)[ordered]), 1.0)
    return [float(value) for value in adjusted]
