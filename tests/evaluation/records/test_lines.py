import json
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.types.answer import Failure, Generation, TokenLogprob
from serve_app.core.types.prompt import ToolCall
from serve_app.errors import DataError
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.lines import (
    answer_body,
    encode_line,
    example_body,
    read_example,
    read_line,
)
from serve_app.evaluation.records.writer import Recorder
from tests.evaluation.collecting import question
from tests.evaluation.records.headers import header, write
from tests.evaluation.untimed import untimed

TEXTS = st.text(st.characters(), max_size=20)  # lone surrogates and line separators, too


@given(
    st.builds(
        Example,
        TEXTS.filter(bool),
        st.just("custom"),
        TEXTS,
        st.fixed_dictionaries({"prompt": TEXTS}),
        st.lists(TEXTS).map(tuple),
        st.dictionaries(TEXTS, st.recursive(st.none() | st.integers() | TEXTS, st.lists, max_leaves=3), max_size=2),
    )
)
def test_every_example_comes_back_as_it_was(example: Example) -> None:
    assert read_example(json.loads(encode_line(example_body(example)))) == example


def test_the_format_in_the_docstring() -> None:
    line = (
        '{"kind": "answer", "example": "1", "model": "small", "text": "Paris", "finish_reason": "stop", '
        '"prompt_tokens": 12, "completion_tokens": 2, "latency_s": 0.4, "first_token_s": 0.3, '
        '"logprobs": [["Paris", -0.1]]}'
    )
    answer = Generation("Paris", "stop", 12, 2, (TokenLogprob("Paris", -0.1),), 0.4, 0.3)
    read = read_line(json.loads(line))
    assert (read.example, read.model, read.answer) == ("1", "small", replace(answer, logprobs=None))
    assert read.logprobs is not None
    assert read.logprobs.unpacked() == answer.logprobs
    assert json.dumps(answer_body("1", "small", answer)) == line
    failed = Failure("timeout", "No answer within 2 s.", 12, 5, 2.0, estimated=True)
    assert answer_body("2", "small", failed) == {
        "kind": "answer",
        "example": "2",
        "model": "small",
        "failure": "timeout",
        "message": "No answer within 2 s.",
        "prompt_tokens": 12,
        "completion_tokens": 5,
        "estimated": True,
        "latency_s": 2.0,
    }


def test_an_answer_that_was_scored_and_not_timed() -> None:
    line = (
        '{"kind": "answer", "example": "1", "model": "small", "text": "Paris", "finish_reason": "stop", '
        '"prompt_tokens": 12, "completion_tokens": 2, "estimated": true, "latency_s": null, "first_token_s": null, '
        '"scores": {"preference": 0.7, "judge": 1}}'
    )
    answer = Generation("Paris", "stop", 12, 2, latency_s=nan, estimated=True)
    read = read_line(json.loads(line))
    assert (untimed(read.answer), read.scores) == (untimed(answer), {"preference": 0.7, "judge": 1})
    assert json.dumps(answer_body("1", "small", answer, {"preference": 0.7, "judge": 1})) == line
    failed = answer_body("1", "small", Failure("error", "x", latency_s=nan), {"judge": 0})
    assert (failed["latency_s"], failed["scores"]) == (None, {"judge": 0})
    assert read_line(failed).scores == {"judge": 0}


ANSWER = answer_body("q1", "a", Generation("x", "stop", 1, 1))
FAILED = answer_body("q1", "a", Failure("timeout", "slow", 1, 1, 0.5))
CALLING = answer_body("q1", "a", Generation("", "tool_calls", 1, 1, tool_calls=(ToolCall("1", "look", "{}"),)))


INVALID: list[tuple[dict[str, Any], str]] = [
    ({**ANSWER, "text": None}, "text: must be a string, not None"),
    (
        {**ANSWER, "finish_reason": "content_filter"},
        "finish_reason: must be one of stop, length, tool_calls, not 'content_filter'",
    ),
    ({**ANSWER, "finish_reason": []}, r"finish_reason: must be a string, not \[\]"),
    ({**ANSWER, "prompt_tokens": "x"}, "prompt_tokens: must be a whole number, not 'x'"),
    ({**ANSWER, "completion_tokens": True}, "completion_tokens: must be a whole number, not True"),
    ({**ANSWER, "latency_s": "fast"}, "latency_s: must be a number, not 'fast'"),
    ({**ANSWER, "scores": [0.5]}, r"scores: must be an object, not \[0\.5\]"),
    ({**ANSWER, "scores": {"judge": "good"}}, r"scores\.judge: must be a number, not 'good'"),
    ({**ANSWER, "scores": {"judge": True}}, r"scores\.judge: must be a number, not True"),
    ({**ANSWER, "scores": {"judge": 1.5}}, r"scores\.judge: must be from 0 to 1, not 1\.5"),
    ({**FAILED, "scores": {"judge": float("nan")}}, r"scores\.judge: must be from 0 to 1, not nan"),
    ({**ANSWER, "first_token_s": "0"}, "first_token_s: must be a number, not '0'"),
    ({**ANSWER, "estimated": 1}, "estimated: must be true or false, not 1"),
    ({**ANSWER, "model": ["a"]}, r"model: must be a string, not \['a'\]"),
    ({name: value for name, value in ANSWER.items() if name != "example"}, "example: required, but missing"),
    ({name: value for name, value in ANSWER.items() if name != "text"}, "text: required, but missing"),
    ({**ANSWER, "logprobs": [["x", None]]}, "logprobs: must be pairs of a token and a number"),
    ({**ANSWER, "logprobs": [[None, -1]]}, "logprobs: must be pairs of a token and a number"),
    ({**ANSWER, "logprobs": [["x", 10**400]]}, "logprobs: must be pairs of a token and a number"),
    ({**ANSWER, "logprobs": 5}, "logprobs: must be pairs of a token and a number"),
    ({**FAILED, "failure": "tired"}, "failure: must be one of error, timeout"),
    ({**FAILED, "message": None}, "message: must be a string, not None"),
    ({**FAILED, "latency_s": "x"}, "latency_s: must be a number, not 'x'"),
    ({**CALLING, "tool_calls": 5}, "tool_calls: must be a list, not 5"),
    ({**CALLING, "tool_calls": ["x"]}, "tool_calls: must be objects with id, name, arguments, not 'x'"),
    ({**CALLING, "tool_calls": [{"id": "1", "name": "x"}]}, "tool_calls.arguments: required, but missing"),
    (
        {**CALLING, "tool_calls": [{"id": "1", "name": "x", "arguments": {}}]},
        r"tool_calls.arguments: must be a string, not \{\}",
    ),
]
"""Lines that are refused, and why."""


@pytest.mark.parametrize(("line", "sentence"), INVALID)
def test_an_invalid_answer(tmp_path: Path, line: dict[str, Any], sentence: str) -> None:
    path = write(tmp_path / "r.jsonl", header().body(), example_body(question(1)), line)
    with pytest.raises(DataError, match=rf":3: not a line of records: {sentence}"):
        Records.load(path)
    if line.get("example"):
        with pytest.raises(DataError, match=rf":3: not a line of records: {sentence}"):
            Recorder(path, header(), [question(1)])
