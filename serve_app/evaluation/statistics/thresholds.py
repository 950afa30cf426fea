"""Thresholds for a goal, one for each tier but the target: deferral rates, a cost budget, a quality floor.

Rates need no labels, nor does `for_budget`. All hold on the examples, and elsewhere about as well as they represent
the traffic. Every threshold is midway between scores that differ by more than `RESOLUTION`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np
import numpy.typing as npt

from serve_app.errors import ConfigError
from serve_app.evaluation.statistics.binomial import binomial_interval
from serve_app.evaluation.statistics.curves import ROUNDING, Floats, column, order
from serve_app.evaluation.statistics.pareto import (
    RecordedTarget,
    RecordedTier,
    Setting,
    answered_by,
    arrivals,
    even_path,
    front_of,
)

RESOLUTION = 1e-9
"""Scores that are no further apart count as equal: floating-point noise could swap them."""
LATER = 4000
"""At most so many combinations of later thresholds are tried, or 63 of one, each with all thresholds of the first."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The thresholds that come nearest to a goal, on the examples they were found on.

    Cost and quality of `setting` are NaN if the goal is not about them. `problem` is a sentence for the user if the
    goal is not met, else None.
    """

    setting: Setting
    examples: int
    problem: str | None

    @property
    def met(self) -> bool:
        return self.problem is None

    @property
    def rate_interval(self) -> tuple[float, float]:
        """Return the 95% Clopper-Pearson interval of the first tier's deferral rate on traffic like the examples."""
        return binomial_interval(round(self.setting.deferred * self.examples), self.examples)


def for_rates(scores: Sequence[npt.ArrayLike], rates: Sequence[float], tolerance: float = 0.02) -> Calibration:
    """Return the thresholds under which the share of all examples passed on beyond each tier is nearest to its rate.

    `scores`: (n,) of each tier; `rates`: 0..1, one for each. Tier by tier, on the examples that the tiers before pass
    on. Met if no rate is further away than `tolerance`; without ties one is within half an example, which is met.
    """
    columns = [np.asarray(tier, dtype=np.float64) for tier in scores]
    arrived = np.arange(len(columns[0]))
    thresholds: list[float] = []
    problems: list[str] = []
    for number, (tier, rate) in enumerate(zip(columns, rates, strict=True), start=1):
        between_0_and_1("rate", rate, ends=True)
        threshold, problem = _for_rate(tier[arrived], rate, len(tier), tolerance)
        if problem:
            problems.append(problem if len(columns) == 1 else f"Tier {number}: {problem}")
        thresholds.append(threshold)
        arrived = arrived[~(tier[arrived] >= threshold)]
    return _unpriced(columns, thresholds, next(iter(problems), None))


def _for_rate(scores: Floats, rate: float, examples: int, tolerance: float) -> tuple[float, str | None]:
    """Return one tier's threshold, and a problem or None; `scores` are of requests that get there, `rate` of all."""
    if not len(scores):
        return -inf, None
    ordered = order(scores, RESOLUTION)
    reachable = np.flatnonzero(ordered.reachable)
    rates = ordered.ends[reachable] / examples
    nearest = int(np.argmin(np.abs(rates - rate)))
    nearest_rate, threshold = rates[nearest], float(ordered.thresholds[reachable[nearest]])
    if abs(nearest_rate - rate) <= max(tolerance, 0.5 / examples) + ROUNDING:
        return threshold, None
    problem = f"No threshold defers {rate:.1%}; the nearest defers {nearest_rate:.1%}, because "
    if rate < rates[0]:
        problem += f"{rates[0]:.1%} of the examples have no score and are always deferred."
    else:
        problem += f"up to {np.diff(ordered.ends).max()} of {examples} examples have the same score."
    return threshold, problem


def for_budget(scores: Sequence[npt.ArrayLike], costs: Sequence[npt.ArrayLike], budget: float) -> Calibration:
    """Return the thresholds that defer most while the mean cost of a request is at most `budget`, in the costs' unit.

    `scores`: (n,) of each tier; `costs`: (n,) of each tier (members and scorer) and of the target, paid by the
    requests that get there. No quality is used: more deferral is taken to be better, and several tiers share it alike
    (`even_path`). If the budget is below the floor, the thresholds are the floor's.
    """
    columns = [np.asarray(tier, dtype=np.float64) for tier in scores]
    paid = [column("costs", cost, columns[0]) for cost in costs]
    path = even_path(columns, 2 * len(columns[0]) + 1, RESOLUTION)
    means = np.zeros(len(path))
    for cost, begin in zip(paid, arrivals(columns, path), strict=True):
        means += np.cumsum(np.bincount(begin, cost, len(path) + 1)[:-1]) / len(cost)
    affordable = np.flatnonzero(means <= budget * (1 + ROUNDING))
    index, problem = (affordable[-1], None) if len(affordable) else (0, _over(budget, means[0], paid[-1], len(columns)))
    return _unpriced(columns, path[index].tolist(), problem, float(means[index]))


def best_for_budget(tiers: Sequence[RecordedTier], target: RecordedTarget, budget: float) -> Calibration:
    """Return the thresholds with the best mean quality while the mean cost of a request is at most `budget`.

    If the budget is below the floor, the thresholds are the cheapest.
    """
    settings = _front(tiers, target)
    affordable = [setting for setting in settings if setting.cost <= budget * (1 + ROUNDING)]
    if affordable:
        return Calibration(affordable[-1], len(target.cost), None)
    problem = _over(budget, settings[0].cost, target.cost, len(tiers))
    return Calibration(settings[0], len(target.cost), problem)


def for_quality(tiers: Sequence[RecordedTier], target: RecordedTarget, floor: float) -> Calibration:
    """Return the cheapest thresholds with a mean quality of at least `floor`, in the qualities' unit.

    If there are none, those of the best quality. A plain mean over the examples: report it on others.
    """
    settings = _front(tiers, target)
    enough = [setting for setting in settings if setting.quality >= floor - ROUNDING * abs(floor)]
    if enough:
        return Calibration(enough[0], len(target.cost), None)
    best = settings[-1]
    none, where = ("No threshold has", "") if len(tiers) == 1 else ("No thresholds have", " at the first tier")
    problem = f"{none} a mean quality of {floor:.4g}; the best, {best.quality:.4g}, defers {best.deferred:.1%}{where}."
    return Calibration(best, len(target.cost), problem)


def _front(tiers: Sequence[RecordedTier], target: RecordedTarget) -> list[Setting]:
    """Return the Pareto front over all thresholds of the first tier and a grid of later ones; exact for one tier."""
    grid = int(LATER ** (1 / max(2, len(tiers) - 1)))
    return front_of(tiers, target, points=None, grid=grid, resolution=RESOLUTION)


def _over(budget: float, floor: float, target_cost: Floats, tiers: int) -> str:
    least, target_mean = "a threshold" if tiers == 1 else "thresholds", float(target_cost.mean())
    problem = f"The budget is {budget:.4g} a request, but the least that {least} can cost is {floor:.4g}"
    if target_mean > 0:
        problem += (
            f": {floor / target_mean:.1%} of the target's {target_mean:.4g}, but the goal is {budget / target_mean:.1%}"
        )
    return problem + "."


def _unpriced(
    columns: Sequence[Floats], thresholds: Sequence[float], problem: str | None, cost: float = nan
) -> Calibration:
    """Return a calibration that used no qualities."""
    deferred = float((answered_by(columns, thresholds) > 0).mean())
    return Calibration(Setting(tuple(thresholds), cost, nan, deferred), len(columns[0]), problem)


def between_0_and_1(name: str, value: float, *, ends: bool = False) -> None:
    """Raise ConfigError, with the value's name, unless it is between 0 and 1."""
    if not (0 <= value <= 1 if ends else 0 < value < 1):
        raise ConfigError(f"{name!r} must be {'from 0 to 1' if ends else 'above 0 and below 1'}, not {value}.")
