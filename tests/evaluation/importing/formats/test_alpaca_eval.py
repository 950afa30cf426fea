from pathlib import Path
from typing import Any

import pytest

from serve_app.errors import DataError
from serve_app.evaluation.records.example import Example
from tests.evaluation.importing.sources import rows, write_list

OUTPUT = {"instruction": "Name a star.", "output": "Vega.", "generator": "phi-2-sft", "dataset": "helpful_base"}
JUDGED = {
    "instruction": "Name a star.",
    "generator_1": "gpt4_1106_preview",
    "output_2": "Vega.",
    "generator_2": "phi-2-sft",
    "annotator": "weighted_alpaca_eval_gpt4_turbo",
    "preference": 1.25,
}


def test_an_output_is_an_answer_without_a_score(tmp_path: Path) -> None:
    [row] = rows(write_list(tmp_path / "model_outputs.json", [OUTPUT]))
    # printf 'Name a star.' | sha256sum | cut -c1-16
    id_ = "a5abf73ed7e9451a"
    source = f"AlpacaEval, {id_}"
    assert row.example == Example(id_, "custom", source, {"prompt": "Name a star."}, (), {"dataset": "helpful_base"})
    assert (row.model, getattr(row.answer, "text", None), row.scores) == ("phi-2-sft", "Vega.", {})


def test_an_annotation_is_an_answer_with_the_preference_from_0_to_1(tmp_path: Path) -> None:
    [row] = rows(write_list(tmp_path / "annotations.json.gz", [JUDGED]))
    assert (row.model, getattr(row.answer, "text", None), row.scores) == ("phi-2-sft", "Vega.", {"preference": 0.25})


def test_an_annotation_without_a_verdict_gives_no_score(tmp_path: Path) -> None:
    [row] = rows(write_list(tmp_path / "annotations.json", [JUDGED | {"preference": None}]))
    assert row.scores == {}


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"preference": 0.5}, r"row 1: preference: must be from 1 to 2, or 0 for a draw, not 0\.5\."),
        ({"preference": "2"}, r"row 1: preference: must be a number, not '2'\."),
        ({"output_2": None}, r"row 1: output_2: must be a string, not None\."),
    ],
)
def test_what_cannot_be_read_is_named_by_file_row_and_field(
    tmp_path: Path, broken: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=rf"a\.json, {sentence}"):
        rows(write_list(tmp_path / "a.json", [JUDGED | broken]))


def test_a_draw_of_an_older_judge_is_a_half(tmp_path: Path) -> None:
    [row] = rows(write_list(tmp_path / "a.json", [JUDGED | {"preference": 0}]))
    assert row.scores == {"preference": 0.5}
