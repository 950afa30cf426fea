"""The rows of a cascade's table: one for every way to score its answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from serve_app.evaluation.analysis.candidates import Candidate
from serve_app.evaluation.analysis.cascade_view import CascadeView
from serve_app.evaluation.evaluate.results import RowName
from serve_app.evaluation.statistics.accepted import gain_on_deferred
from serve_app.evaluation.statistics.baselines import partial_oracle
from serve_app.evaluation.statistics.bootstrap import Statistic, mean_of
from serve_app.evaluation.statistics.curves import Sweep

StatisticKey: TypeAlias = tuple[
    Literal["quality", "area", "random", "oracle", "partial_oracle", "gain"], str | int | tuple[int, float] | None
]
"""What is bootstrapped, of what: a model by its name, a row by its number (with a rate), or None: the whole cascade."""

DEFERRAL_RATES = (0.2, 0.4, 0.6)
"""Where it is counted how many accepted answers are worse than the target's."""
DEFERRED = 0.4
"""Of them the one at which answers are shown, and at which deferring should buy something."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """`sweep` is of the test examples. `maximum`: of all quantiles the best on the test examples themselves."""

    view: CascadeView
    candidate: Candidate
    sweep: Sweep
    maximum: bool = False

    @property
    def label(self) -> str:
        """Return the signal, with its quantile if it has one."""
        chow = self.candidate.chow
        signal = self.candidate.tier.signal or ""
        return f"{signal}({chow.q:g})" if chow and signal == "chow_quantile" else signal

    def name(self) -> RowName:
        """Return the row's name, which no other row has."""
        tier = self.candidate.tier
        return RowName(
            kind=self.candidate.kind,
            signal=self.label,
            models=tier.models,
            agreement=tier.agreement,
            selection=tier.select or "selected",
            maximum=self.maximum,
        )

    def fit_area(self) -> float:
        """Return the area on the fit examples, by which rows are chosen."""
        return self.view.sweep(self.candidate, self.view.fit).area


def rows_of(view: CascadeView, candidates: Sequence[Candidate]) -> list[Row]:
    """Return a row for each candidate, but of all quantiles only the best on fit, and the paper's: the best on test."""
    rows = [Row(view, candidate, view.sweep(candidate, view.test)) for candidate in candidates]
    quantiles = [row for row in rows if row.candidate.tier.signal == "chow_quantile"]
    selected = [row for row in rows if row not in quantiles]
    for policy in dict.fromkeys(map(_policy, quantiles)):
        rows_of_policy = [row for row in quantiles if _policy(row) == policy]
        selected.append(max(rows_of_policy, key=Row.fit_area))
        best = max(rows_of_policy, key=lambda row: row.sweep.area)
        selected.append(Row(view, best.candidate, best.sweep, maximum=True))
    return selected


def _policy(row: Row) -> tuple[tuple[str, ...], str]:
    return row.candidate.tier.models, row.candidate.tier.agreement


def best_chow(rows: Sequence[Row]) -> int | None:
    """Return the number of the row of the single member's Chow signal that is best on the fit examples, or None."""
    chow = [k for k, row in enumerate(rows) if row.candidate.kind == "chow_member" and not row.maximum]
    return max(chow, key=lambda k: rows[k].fit_area(), default=None)


def statistics(rows: Sequence[Row]) -> dict[StatisticKey, Statistic]:
    """Return what is bootstrapped of row k: its area, random deferral's and, if answers are compared, its oracle's."""
    statistics_: dict[StatisticKey, Statistic] = {}
    for k, row in enumerate(rows):
        view = row.view
        statistics_["area", k] = row.sweep.areas
        statistics_["random", k] = mean_of((row.sweep.selected + row.sweep.target) / 2)
        gains = {rate: gain_on_deferred(row.sweep, rate) for rate in DEFERRAL_RATES}
        statistics_ |= {("gain", (k, rate)): gain for rate, gain in gains.items() if gain is not None}
        if row.candidate.kind == "semantic":
            scores = row.candidate.scored.scores[view.test]
            members = view.qualities(row.candidate.tier.models)[:, view.test]
            statistics_["partial_oracle", k] = partial_oracle(scores, members, row.sweep.target).areas
    return statistics_
