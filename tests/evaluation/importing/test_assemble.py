from dataclasses import replace
from pathlib import Path

import pytest

from serve_app.core.types.answer import Generation
from serve_app.errors import DataError
from serve_app.evaluation.importing.assemble import assemble, model_name
from serve_app.evaluation.importing.formats.rows import Row, generation
from tests.evaluation.collecting import question
from tests.evaluation.importing.formats.test_alpaca_eval import JUDGED, OUTPUT
from tests.evaluation.importing.sources import rows, write_list

ROW = Row("a:1", "org/small", question(1), generation("Paris"))


@pytest.mark.parametrize(
    ("name", "sanitised"),
    [
        ("meta-llama/Meta-Llama-3.1-8B", "Meta-Llama-3.1-8B"),
        ("Llama@sambanova", "Llama-sambanova"),
        ("GPT-4 (1106)", "GPT-4-1106"),
    ],
)
def test_models_get_names_that_a_config_can_have(name: str, sanitised: str) -> None:
    assert model_name(name) == sanitised


def test_an_output_and_its_annotation_are_one_answer(tmp_path: Path) -> None:
    outputs, judged = write_list(tmp_path / "o.json", [OUTPUT]), write_list(tmp_path / "a.json", [JUDGED])
    imported = assemble(rows(judged, outputs))
    [example] = imported.examples.values()
    assert example.metadata == {"dataset": "helpful_base"}
    [row] = imported.answers["phi-2-sft"].values()
    assert row.scores == {"preference": 0.25}


def test_counted_tokens_win_over_none() -> None:
    counted = replace(ROW, where="b:1", answer=Generation("Paris", "stop", 7, 2), counted=True)
    for pair in ([ROW, counted], [counted, ROW]):
        assert assemble(pair).answers["small"]["q1"].answer == counted.answer


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"answer": generation("Rome")}, "b:1: 'small' has another answer to 'q1' at a:1."),
        ({"example": replace(question(1), references=())}, "b:1: the example 'q1' has other references than at a:1."),
        (
            {"example": replace(question(1), prompt_inputs={"question": "?"})},
            "b:1: the example 'q1' has other prompt_inputs than at a:1.",
        ),
        (
            {"model": "other/small"},
            "b:1: the models 'org/small' and 'other/small' would both be called 'small'; name one with NAME=PATH.",
        ),
    ],
)
def test_contradictions_are_refused_with_both_places(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(DataError) as raised:
        assemble([ROW, replace(ROW, where="b:1", **changes)])  # type: ignore[arg-type]
    assert str(raised.value) == sentence


def test_contradicting_scores_and_metadata_are_refused() -> None:
    judged, contrary = (replace(ROW, scores={"judge": score}) for score in (0.5, 0.25))
    with pytest.raises(DataError, match=r"^a:1: the answer has another score 'judge' at a:1\.$"):
        assemble([judged, contrary])
    easy, hard = (replace(ROW, example=replace(question(1), metadata={"level": level})) for level in (1, 2))
    with pytest.raises(DataError, match=r"^a:1: the example 'q1' has another level than at a:1\.$"):
        assemble([easy, hard])


@pytest.mark.parametrize("value", [5.0, -0.1, float("nan")])
def test_a_score_that_records_could_not_hold_is_refused(value: float) -> None:
    with pytest.raises(DataError, match=r"a:1: the score 'judge' is .*; scores must be from 0 to 1"):
        assemble([replace(ROW, scores={"judge": value})])


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(DataError, match=r"a:1: completion_tokens is -1; it must not be negative"):
        assemble([replace(ROW, answer=Generation("x", "stop", 1, -1))])


def test_half_of_a_character_in_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1: output: has half of a surrogate pair"):
        rows(write_list(tmp_path / "o.json", [OUTPUT | {"output": "\ud83d"}]))
