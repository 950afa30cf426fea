from pathlib import Path
from typing import Any

import pytest

from serve_app.core.types.answer import Failure, Generation
from serve_app.errors import DataError
from serve_app.evaluation.importing.assemble import assemble
from serve_app.evaluation.records.example import Example
from tests.evaluation.importing.sources import rows, write_lines
from tests.evaluation.untimed import untimed

GRADED = {
    "global_index": "MMLUPro_law_12",
    "question": "Which?",
    "llm_selected": "claude-3-haiku-20240307",
    "generated_answer": r"\boxed{F}",
    "token_usage": {"input_tokens": 120, "output_tokens": 7, "total_tokens": 127},
    "success": True,
    "provider": "anthropic",
    "error": None,
    "evaluation_result": {"extracted_answer": "F", "ground_truth": "5", "score": 1.0, "metric": "mcq_accuracy"},
}


def test_a_line_is_a_graded_answer_with_its_tokens(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "haiku.jsonl", [GRADED])
    [row] = rows(path)
    facts = {"category": "MMLUPro_law", "metric": "mcq_accuracy"}
    inputs = {"prompt": "Which?"}
    assert row.example == Example("MMLUPro_law_12", "custom", "RouterArena, MMLUPro_law_12", inputs, ("5",), facts)
    assert untimed(row.answer) == Generation(r"\boxed{F}", "stop", 120, 7)
    assert (row.where, row.model, row.counted) == (f"{path}:1", "claude-3-haiku-20240307", True)
    assert row.scores == {"score": 1.0}


def test_a_score_beyond_0_to_1_is_cut_and_a_missing_one_is_none(tmp_path: Path) -> None:
    results = [{"score": -0.03}, {"score": 1.01}, {"ground_truth": None}]
    lines = [GRADED | {"global_index": f"AIME_{k}", "evaluation_result": result} for k, result in enumerate(results)]
    assert [row.scores for row in rows(write_lines(tmp_path / "x.jsonl", lines))] == [{"score": 0}, {"score": 1}, {}]


def test_an_answer_that_failed_is_a_failure(tmp_path: Path) -> None:
    failed = {"success": False, "generated_answer": "", "error": "overloaded", "token_usage": None}
    [row] = rows(write_lines(tmp_path / "x.jsonl", [GRADED | failed]))
    assert (untimed(row.answer), row.counted) == (Failure("error", "overloaded"), False)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"generated_answer": None}, r":2: generated_answer: must be a string, not None\."),
        ({"token_usage": {"input_tokens": 1}}, r":2: token_usage\.output_tokens: required, but missing\."),
        ({"token_usage": 5}, r":2: token_usage: must be an object, not 5\."),
        ({"evaluation_result": None}, r":2: evaluation_result: must be an object, not None\."),
    ],
)
def test_what_cannot_be_read_is_named_by_file_line_and_field(
    tmp_path: Path, broken: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=rf"x\.jsonl{sentence}"):
        rows(write_lines(tmp_path / "x.jsonl", [GRADED, GRADED | broken]))


def test_failures_without_a_grade_take_the_gold_answers_of_other_models(tmp_path: Path) -> None:
    failed = {"success": False, "generated_answer": "", "error": "down", "evaluation_result": None, "token_usage": None}
    other_row = GRADED | {"llm_selected": "small"} | failed
    for number, lines in enumerate(([other_row, GRADED], [GRADED, other_row])):
        imported = assemble(rows(write_lines(tmp_path / f"{number}.jsonl", lines)))
        assert imported.examples["MMLUPro_law_12"].references == ("5",)
        assert isinstance(imported.answers["small"]["MMLUPro_law_12"].answer, Failure)
