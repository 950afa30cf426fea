"""The report's numbers as CSV."""

import csv
from pathlib import Path

from serve_app.evaluation.analysis.json_values import plain
from serve_app.evaluation.evaluate.report.headings import pairs
from serve_app.evaluation.evaluate.results import Evaluation
from serve_app.evaluation.evaluate.words import label

COLUMNS = ("auc", "over_random", "by_selection", "over_best_chow")
"""Of the CSV, each with its interval."""


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write a line for every row of every cascade, with its signature."""
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        bounds = [f"{column}{end}" for column in COLUMNS for end in ("", "_low", "_high")]
        writer.writerow(["group", "cascade", "kind", "judged_by", "models", "kept", "metric", *bounds, "signature"])
        for group, cascade in pairs(evaluation):
            for row in cascade.curves.rows if cascade.curves else ():
                name, intervals = row.name, (row.auc, row.over_random, row.by_selection, row.over_best_chow)
                values = [value for interval in intervals for value in plain(interval) or ("", "", "")]
                named = [name.kind, label(name), "+".join(name.models), name.kept, cascade.metric]
                writer.writerow([group.name, cascade.id, *named, *values, row.signature])
