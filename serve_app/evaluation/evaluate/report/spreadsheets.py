"""The report's numbers as CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path

from serve_app.evaluation.analysis.costs import UNITS
from serve_app.evaluation.analysis.json_values import plain
from serve_app.evaluation.evaluate.report.headings import pairs
from serve_app.evaluation.evaluate.results import Evaluation
from serve_app.evaluation.evaluate.row import DEFERRAL_RATES
from serve_app.evaluation.evaluate.rows import GAP_SHARES
from serve_app.evaluation.evaluate.words import label
from serve_app.evaluation.statistics.bootstrap import Interval

COLUMNS = ("auc", "over_random", "by_selection", "over_best_chow")
"""Each with its interval."""


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write a line for every row of every cascade, with its signature."""
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        bounds = [f"{column}{end}" for column in COLUMNS for end in ("", "_low", "_high")]
        gap = ["apgr", *(f"cpt_{100 * share:g}" for share in GAP_SHARES)]
        wrong = [f"wrong_{100 * rate:g}{end}" for rate in DEFERRAL_RATES for end in ("", "_low", "_high")]
        names = ["group", "cascade", "kind", "judged_by", "models", "selection", "metric"]
        writer.writerow([*names, *bounds, *gap, *wrong, "wrong_if_independent", "signature"])
        for group, cascade in pairs(evaluation):
            for row in cascade.curves.rows if cascade.curves else ():
                name, intervals = row.name, (row.auc, row.over_random, row.by_selection, row.over_best_chow)
                worse = [row.accepted[rate].worse for rate in DEFERRAL_RATES]
                values = [value for interval in intervals for value in _cells(interval)]
                recovered = plain([row.apgr, *row.cpt.values()])
                shares = [value for interval in worse for value in _cells(interval)]
                name_cells = [name.kind, label(name), "+".join(name.models), name.selection, cascade.metric]
                numbers = [*values, *recovered, *shares, plain(row.if_independent)]
                writer.writerow([group.name, cascade.id, *name_cells, *numbers, row.signature])


def write_curves(evaluation: Evaluation, path: Path) -> None:
    """Write a line for every point of every row's curve; costs are shares of the target's, empty if unknown."""
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        columns = ("rate", "quality", "quality_low", "quality_high", "threshold")
        writer.writerow(["group", "cascade", "row", "metric", *columns, *UNITS])
        for group, cascade in pairs(evaluation):
            for row in cascade.curves.rows if cascade.curves else ():
                curve = row.curve.to_json()
                empty = [None] * len(row.curve.rate)
                points = zip(*(curve.get(column, empty) for column in (*columns, *UNITS)), strict=True)
                writer.writerows([group.name, cascade.id, label(row.name), cascade.metric, *point] for point in points)


def _cells(interval: Interval | None) -> Sequence[object]:
    return plain(interval) or ("", "", "")
