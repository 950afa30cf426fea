"""What is accepted and wrong: how often accepted answers are worse than the target's, and what deferring others buys.

Members that agree are not always right: they may share a mistake. So the share of accepted answers below the target's
quality stands beside what members would give that make their mistakes independently of each other.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve_app.evaluation.statistics.binomial import binomial_interval
from serve_app.evaluation.statistics.bootstrap import Interval, Statistic, mean_where
from serve_app.evaluation.statistics.curves import Floats, Integers, Sweep

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Accepted:
    """What one threshold accepts of n examples.

    `worse`: the share of accepted answers below the target's quality, with its exact (Clopper-Pearson) interval; None
    if nothing is accepted. `mean_loss`: of all accepted answers, max(0, target - answer), in the quality's unit.
    """

    threshold: float
    rate: float
    worse: Interval | None
    mean_loss: float


def accepted_at(sweep: Sweep, rate: float) -> Accepted:
    """Return what the reachable threshold accepts whose deferral rate is nearest to `rate`."""
    k = point_at(sweep, rate)
    losses = (sweep.target - sweep.selected)[sweep.order.index[sweep.order.ends[k] :]]
    return Accepted(
        threshold=float(sweep.order.thresholds[k]),
        rate=float(sweep.order.rates[k]),
        worse=share_of(losses > 0),
        mean_loss=float(np.maximum(losses, 0).mean()) if len(losses) else 0.0,
    )


def gain_on_deferred(sweep: Sweep, rate: float) -> Statistic | None:
    """Return how much better the target is on what that threshold defers, as a statistic; None if it defers nothing."""
    deferred = np.zeros(len(sweep.selected), dtype=np.bool_)
    deferred[sweep.order.index[: sweep.order.ends[point_at(sweep, rate)]]] = True
    return mean_where(sweep.target - sweep.selected, deferred) if deferred.any() else None


def point_at(sweep: Sweep, rate: float) -> int:
    """Return the point of the curve, of those that a threshold reaches, whose deferral rate is nearest to `rate`."""
    reachable = np.flatnonzero(sweep.order.reachable)
    return int(reachable[np.abs(sweep.order.rates[reachable] - rate).argmin()])


def worst_accepted(sweep: Sweep, rate: float, count: int) -> Integers:
    """Return up to `count` examples that are accepted at `rate` and lose most against the target, the worst first.

    Of equal losses those with the higher score come first. Examples without a loss are left out.
    """
    surest_first = sweep.order.index[sweep.order.ends[point_at(sweep, rate)] :][::-1]
    losses = (sweep.target - sweep.selected)[surest_first]
    ranked = np.argsort(-losses, kind="stable")[:count]
    return surest_first[ranked[losses[ranked] > 0]]


def share_of(flags: npt.NDArray[np.bool_]) -> Interval | None:
    """Return the share of the flags that are set, with its exact (Clopper-Pearson) interval; None without flags."""
    if not len(flags):
        return None
    successes = int(flags.sum())
    return Interval(successes / len(flags), *binomial_interval(successes, len(flags), LEVEL), LEVEL)


def wrong_if_independent(members: Floats, target: Floats) -> float:
    """Return how often agreed answers would be below the target's quality if members erred independently.

    From (m, n) qualities of the members and (n,) of the target. Member i is below the target on a share w_i of the
    examples. Answers that agree are the same answer, so all m are below it or none is; of independent members

        P(below | agreed) = prod w_i / (prod w_i + prod (1 - w_i)).

    That is an upper bound for them: it takes wrong answers to agree with each other as right ones do. NaN if it is
    undefined: one member is always below and another one never.
    """
    below = (members < target).mean(axis=1)
    wrong, right = float(np.prod(below)), float(np.prod(1 - below))
    return wrong / (wrong + right) if wrong + right > 0 else float("nan")
