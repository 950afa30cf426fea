"""What a cascade is measured against: random deferral, oracles, and where its gain comes from.

Chow baselines, and a *fixed* member whose answer is kept while the others only decide (paper, appendix C), need
nothing of their own: `sweep` takes any scores with any kept quality.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve_app.errors import DataError
from serve_app.evaluation.statistics.curves import Floats, Sweep, sweep


def random_deferral(kept: npt.ArrayLike, target: npt.ArrayLike) -> Sweep:
    """Requests deferred at random, same answers kept: all scores equal. Its area is the mean of the two qualities'."""
    return sweep(np.zeros(np.shape(kept)), kept, target)


def oracle(members: npt.ArrayLike, target: npt.ArrayLike) -> Sweep:
    """The best that (m, n) member qualities allow: keep the best answer, defer by Q_T - max Q_i (paper, appendix E).

    With m = 1 the oracle of a single model. No order of deferral has a higher curve anywhere.
    """
    best = _best(members)
    return sweep(best - np.asarray(target, dtype=np.float64), best, target)


def partial_oracle(scores: npt.ArrayLike, members: npt.ArrayLike, target: npt.ArrayLike) -> Sweep:
    """Keep the best member answer, but defer by the (n,) scores that a server has (paper, appendix E)."""
    return sweep(scores, _best(members), target)


def _best(members: npt.ArrayLike) -> Floats:
    qualities = np.asarray(members, dtype=np.float64)
    if qualities.ndim != 2:
        raise DataError(f"Member qualities must have shape (members, examples), not {qualities.shape}.")
    best: Floats = qualities.max(axis=0)
    return best


@dataclass(frozen=True, slots=True, eq=False)
class GainSplit:
    """A cascade's area over random deferral with its best single member, split in two (all three are sweeps).

    The areas of the three, bootstrapped together, give each part its interval.
    """

    cascade: Sweep
    random: Sweep
    """Random deferral, with the cascade's selected answers."""
    random_best: Sweep
    """Random deferral, with the answers of the member that is best on average."""
    best_member: int

    @property
    def by_selection(self) -> float:
        """The area gained by which answer is kept."""
        return self.random.area - self.random_best.area

    @property
    def by_deferral(self) -> float:
        """The area gained by which requests are deferred."""
        return self.cascade.area - self.random.area


def gain_split(cascade: Sweep, members: npt.ArrayLike) -> GainSplit:
    """Split the gain of a cascade over (m, n) member qualities; of equally good members the first is the best."""
    qualities = np.asarray(members, dtype=np.float64)
    best = int(qualities.mean(axis=1).argmax())
    random = random_deferral(cascade.kept, cascade.target)
    return GainSplit(cascade, random, random_deferral(qualities[best], cascade.target), best)


def selection_shares(selected: Sequence[int | None], members: int) -> Floats:
    """(m,): how often each member's answer was selected, as shares of the examples where any was."""
    chosen = [member for member in selected if member is not None]
    shares: Floats = np.bincount(chosen, minlength=members) / max(1, len(chosen))
    return shares
