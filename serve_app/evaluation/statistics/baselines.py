"""What a cascade is compared with: random deferral and oracles.

Chow baselines, and a *fixed* member whose answer is returned while the others only decide (paper, appendix C), need
nothing of their own: `sweep` takes any scores with any quality of the selected answer.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from serve_app.errors import DataError
from serve_app.evaluation.statistics.curves import Floats, Sweep, sweep


def random_deferral(selected: npt.ArrayLike, target: npt.ArrayLike) -> Sweep:
    """Return the sweep of random deferral with the same answers selected: all scores are equal.

    Its area is the mean of the two mean qualities.
    """
    return sweep(np.zeros(np.shape(selected)), selected, target)


def oracle(members: npt.ArrayLike, target: npt.ArrayLike) -> Sweep:
    """Return the best sweep that (m, n) member qualities allow (paper, appendix E).

    It keeps the best member answer max_i Q_i and defers by Q_T - max_i Q_i. With m = 1 it is the
    oracle of a single model. No order of deferral has a higher curve anywhere.
    """
    best = _best(members)
    return sweep(best - np.asarray(target, dtype=np.float64), best, target)


def partial_oracle(scores: npt.ArrayLike, members: npt.ArrayLike, target: npt.ArrayLike) -> Sweep:
    """Return the sweep that keeps the best member answer, but defers by the server's (n,) scores (appendix E)."""
    return sweep(scores, _best(members), target)


def _best(members: npt.ArrayLike) -> Floats:
    qualities = np.asarray(members, dtype=np.float64)
    if qualities.ndim != 2:
        raise DataError(f"Member qualities must have shape (members, examples), not {qualities.shape}.")
    best: Floats = qualities.max(axis=0)
    return best


def selection_shares(selected: Sequence[int | None], members: int) -> Floats:
    """Return how often each member's answer was selected, shape (m,), as shares of the examples that have one."""
    selected_members = [member for member in selected if member is not None]
    shares: Floats = np.bincount(selected_members, minlength=members) / max(1, len(selected_members))
    return shares
