"""The JSON Schema says what is written and read."""

from dataclasses import fields
from typing import Any, get_args

import pytest

from serve_app.core.types.answer import Failure, FailureKind, FinishReason, Generation, TokenLogprob
from serve_app.core.types.prompt import ToolCall
from serve_app.evaluation.records.example import FIELDS, REQUIRED
from serve_app.evaluation.records.header import Header
from serve_app.evaluation.records.lines import answer_body, example_body
from serve_app.evaluation.records.tasks import TASKS
from tests.evaluation.collecting import question
from tests.evaluation.record_schema import SCHEMA, VALIDATOR
from tests.evaluation.records.headers import header
from tests.evaluation.records.test_lines import ANSWER, CALLING, FAILED, INVALID

FULL = Generation(
    "Paris",
    "stop",
    5,
    2,
    (TokenLogprob("Paris", -0.5),),
    0.5,
    0.1,
    (ToolCall("1", "look", "{}"),),
    estimated=True,
    reasoning="Hm.",
    reasoning_tokens=1,
)


@pytest.mark.parametrize(
    "body",
    [
        header().body(),
        example_body(question(1)),
        answer_body("q1", "a", FULL, {"judge": 0.5}),
        answer_body("q1", "a", Failure("timeout", "slow", latency_s=float("nan"), estimated=True), {"judge": 0}),
        ANSWER,
        FAILED,
        CALLING,
    ],
)
def test_whatever_is_written_fits(body: dict[str, Any]) -> None:
    VALIDATOR.validate(body)


HUGE = [["x", 10**400]]
"""JSON has no largest number, but a float does."""


@pytest.mark.parametrize("line", [line for line, _ in INVALID if line.get("logprobs") != HUGE])
def test_a_line_that_is_refused_does_not_fit(line: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(line)


def test_the_schema_names_the_fields_and_words_of_the_code() -> None:
    parts = SCHEMA["$defs"]
    assert set(parts["header"]["properties"]) == {"kind", "format", *(item.name for item in fields(Header))}
    assert set(parts["example"]["properties"]) == {"kind", *FIELDS}
    assert set(parts["example"]["required"]) == {"kind", *REQUIRED}
    assert set(parts["example"]["properties"]["task"]["enum"]) == TASKS.keys()
    assert set(parts["generation"]["properties"]) == answer_body("q1", "a", FULL, {"judge": 1}).keys()
    assert set(parts["generation"]["properties"]["finish_reason"]["enum"]) == set(get_args(FinishReason))
    assert set(parts["failure"]["properties"]["failure"]["enum"]) == set(get_args(FailureKind))
