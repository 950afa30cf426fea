"""What a terminal shows: no number is broken, whatever its width."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.evaluate.results import Evaluation
from serve_app.evaluation.evaluate.tables import tables
from serve_app.evaluation.evaluate.terminal import render
from serve_app.evaluation.records.file import Records
from serve_app.terminal.table import Table, print_table
from tests.evaluation.synthetic import records, three_tier_records

SIGNALS = ("exact", "rougeL")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    path = records(tmp_path_factory.mktemp("records") / "records.jsonl", 60, ("small", "tiny", "odd"))
    dataset = load_dataset(Records.load(path), Options(signals=SIGNALS, resamples=100))
    return evaluate(dataset, compare=("rougeL (max), small selected", "chow_sum, all members (mean)"))


def printed(table: Table, width: int) -> list[str]:
    text = StringIO()
    print_table(table, Console(file=text, width=width))
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 300])
def test_no_number_is_broken_and_no_name_is_cut(evaluation: Evaluation, width: int) -> None:
    [group] = evaluation.groups
    for table in tables(group, group.cascades[0], brief=True):
        lines = printed(table, width)
        assert max(map(len, lines)) <= width
        text = "\n".join(lines)
        assert "\u2026" not in text
        words = text.split()
        for number, row in enumerate(table.rows):
            for column in sorted(set(range(len(row))) - set(table.optional)):
                for part in table.parts(number, column):
                    assert part in (words if column in table.words else text), (table.title, part)


def test_at_100_columns_areas_keep_what_matters_and_say_what_is_left_out(evaluation: Evaluation) -> None:
    [group] = evaluation.groups
    [areas] = [table for table in tables(group, group.cascades[0], brief=True) if table.title.startswith("Areas")]
    narrow, wide = (" ".join(" ".join(printed(areas, width)).split()) for width in (100, 300))
    sentence = "Too wide for this terminal, but in --json:"
    assert f"{sentence} over best Chow, partial oracle, selected." in narrow
    assert sentence not in wide
    assert "scored by AUC over random by selection" in wide


def test_more_tiers_are_readable_too(tmp_path: Path) -> None:
    path = three_tier_records(tmp_path / "r.jsonl", 60)
    evaluation = evaluate(load_dataset(Records.load(path), Options(signals=SIGNALS, resamples=100)))
    text = StringIO()
    render(evaluation, Console(file=text, width=100))
    assert max(map(len, text.getvalue().splitlines())) <= 100
    assert "tiny alone" in text.getvalue()
