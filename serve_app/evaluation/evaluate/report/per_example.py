"""`cascade evaluate --per-example`: the values of every row for every example, as CSV or Parquet."""

import csv
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import numpy as np

from serve_app.errors import DataError, UsageError
from serve_app.evaluation.analysis.costs import UNITS
from serve_app.evaluation.evaluate.evaluate import Scored
from serve_app.evaluation.evaluate.report.files import written
from serve_app.evaluation.evaluate.row import DEFERRED, Row
from serve_app.evaluation.evaluate.words import label
from serve_app.evaluation.statistics.accepted import accepted_at
from serve_app.evaluation.statistics.curves import Floats

Value: TypeAlias = str | float | bool | None
Columns: TypeAlias = Mapping[str, Sequence[Value]]
"""Of equal length, by name."""
TEXTS = ("id", "group", "cascade", "signal", "part", "selected")
FORMATS = (".csv", ".parquet")


def check_path(path: Path) -> None:
    """Raise UsageError if the file cannot be written in the format of its name, before anything is computed."""
    if path.suffix not in FORMATS:
        raise UsageError(f"--per-example: {str(path)!r} must end in {' or '.join(FORMATS)}.")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise DataError(
            f"--per-example: {str(path)!r} needs pyarrow: pip install 'semantic-cascade[evaluation]', or name a .csv."
        )
    if not path.parent.is_dir():
        raise UsageError(f"--per-example: {str(path.parent)!r} is not a folder; make it, or name another file.")


def write_per_example(scored: Sequence[Scored], path: Path) -> None:
    """Write a line for each example under each row of each cascade and group, with the same columns for all.

    Raises DataError if the file cannot be written, UsageError if no cascade has rows.
    """
    names = list(dict.fromkeys(model for cascade in scored for tier in cascade.view.tiers for model in tier.models))
    parts = [_columns(row, names) for cascade in scored for row in cascade.rows if not row.maximum]
    if not parts:
        raise UsageError(
            "--per-example: no cascade of two tiers was evaluated, so there is no row to write examples of."
        )
    with written("--per-example:", path):
        if path.suffix == ".parquet":
            _write_parquet(parts, path)
        else:
            _write_csv(parts, path)


def _columns(row: Row, models: Sequence[str]) -> Columns:
    """Return the columns of one row, a value for each example of its group.

    `part`: fit or test; `s`: the agreement, None if no threshold accepts the example; `accepted`: at `threshold`, at
    which about 40% of the test examples are deferred. Models of other cascades have None.
    """
    view, tier_scores = row.view, row.candidate.scored
    index = view.group.index
    threshold = accepted_at(row.sweep, DEFERRED).threshold
    scores = tier_scores.scores[index]
    members = row.candidate.tier.models
    test = set(view.test.tolist())
    columns: dict[str, Sequence[Value]] = {
        "id": [view.dataset.examples[k].id for k in index],
        "group": [view.group.name] * len(index),
        "cascade": [view.id] * len(index),
        "signal": [label(row.name())] * len(index),
        "part": ["test" if k in test else "fit" for k in index.tolist()],
        "s": _values(scores),
        "threshold": [threshold] * len(index),
        "accepted": [bool(value) for value in scores >= threshold],
        "selected": [None if k < 0 else members[k] for k in tier_scores.selected[index].tolist()],
    }
    tier_models = {model for tier in view.tiers for model in tier.models}
    for model in models:
        costs = view.cost(model) if model in tier_models else {}
        columns[f"quality:{model}"] = (
            _values(view.quality(model)[index]) if model in tier_models else [None] * len(index)
        )
        for unit in UNITS:
            columns[f"{unit}:{model}"] = _values(costs[unit][index]) if unit in costs else [None] * len(index)
    return columns


def _values(values: Floats) -> list[Value]:
    return [None if np.isnan(value) else float(value) for value in values]


def _write_csv(parts: Sequence[Columns], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(parts[0])
        for columns in parts:
            writer.writerows(zip(*columns.values(), strict=True))


def _write_parquet(parts: Sequence[Columns], path: Path) -> None:
    """Write one group of rows for each part."""
    import pyarrow
    from pyarrow import parquet

    types = {**dict.fromkeys(TEXTS, pyarrow.string()), "accepted": pyarrow.bool_()}
    schema = pyarrow.schema([(name, types.get(name, pyarrow.float64())) for name in parts[0]])
    with parquet.ParquetWriter(path, schema) as writer:
        for columns in parts:
            writer.write_table(pyarrow.table(dict(columns), schema=schema))
