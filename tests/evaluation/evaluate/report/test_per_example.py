"""A line for each example, as CSV and as Parquet."""

import csv
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from serve_app.errors import DataError, UsageError
from serve_app.evaluation.analysis.dataset import hashed_share
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.evaluate.evaluate import Scored, evaluate, score
from serve_app.evaluation.evaluate.report import per_example
from serve_app.evaluation.evaluate.report.per_example import check_path, write_per_example
from serve_app.evaluation.records.file import Records
from tests.evaluation.synthetic import records


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> list[Scored]:
    path = records(tmp_path_factory.mktemp("records") / "records.jsonl", 60)
    return score(load_dataset(Records.load(path), Options(signals=("exact",), resamples=100)))


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_reported_numbers_follow_from_the_lines(scored: list[Scored], tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_per_example(scored, path)
    exact_lines = [line for line in lines(path) if line["signal"] == "exact (max)"]
    assert [line["id"] for line in exact_lines] == [f"Synthetic-{k}" for k in range(60)]
    assert [line["part"] == "fit" for line in exact_lines] == [
        hashed_share(line["id"], 0) < 1 / 3 for line in exact_lines
    ]
    [cascade] = evaluate(scored[0].view.dataset, scored).groups[0].cascades
    assert cascade.curves is not None
    [row] = [row for row in cascade.curves.rows if (row.name.kind, row.name.agreement) == ("semantic", "max")]
    test = [line for line in exact_lines if line["part"] == "test"]
    accepted = [line for line in test if line["accepted"] == "True"]
    assert 1 - len(accepted) / len(test) == pytest.approx(row.accepted[0.4].rate)
    wrong = [line for line in accepted if float(line[f"quality:{line['selected']}"]) < float(line["quality:large"])]
    assert row.accepted[0.4].worse is not None
    assert len(wrong) / len(accepted) == pytest.approx(row.accepted[0.4].worse.estimate)
    selected = [float(line[f"quality:{line['selected']}"]) if line["selected"] else 0.0 for line in test]
    assert np.mean(selected) == pytest.approx(row.selected_quality)
    assert np.mean([float(line["flops:small"]) for line in test]) == pytest.approx(
        cascade.models["small"].cost["flops"]
    )
    assert all((line["s"] == "") <= (line["accepted"] == "False") for line in exact_lines)


def test_every_row_of_the_table_is_there_but_the_papers_maximum(scored: list[Scored], tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_per_example(scored, path)
    names = {line["signal"] for line in lines(path)}
    assert {"exact (max)", "exact (mean)", "exact (max), small selected", "chow_sum of tiny"} <= names
    assert not any("maximum" in name for name in names)


def test_parquet_holds_the_same(scored: list[Scored], tmp_path: Path) -> None:
    write_per_example(scored, tmp_path / "out.csv")
    write_per_example(scored, tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    for line, row in zip(lines(tmp_path / "out.csv"), table, strict=True):
        assert line == {name: "" if value is None else str(value) for name, value in row.items()}


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_computed(
    scored: list[Scored], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"--per-example: 'out.txt' must end in \.csv or \.parquet\."):
        check_path(Path("out.txt"))
    with pytest.raises(UsageError, match="is not a folder; make it, or name another file"):
        check_path(tmp_path / "nowhere" / "out.csv")
    check_path(tmp_path / "out.parquet")
    monkeypatch.setattr(per_example, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"needs pyarrow: pip install 'semantic-cascade\[evaluation\]', or name a .csv"):
        check_path(tmp_path / "out.parquet")
    check_path(tmp_path / "out.csv")
    with pytest.raises(DataError, match=r"--per-example: '.*' cannot be written: Is a directory"):
        write_per_example(scored, tmp_path)
    with pytest.raises(UsageError, match="no cascade of two tiers was evaluated"):
        write_per_example([], tmp_path / "out.csv")
