from pathlib import Path
from typing import Any

import pytest

from serve_app.core.types.answer import Failure, Generation, TokenLogprob
from serve_app.errors import DataError
from serve_app.evaluation.importing.formats.rows import SourceFile
from serve_app.evaluation.records.example import Example
from tests.evaluation.importing.sources import rows, write_lines
from tests.evaluation.untimed import untimed


def request(id_: str = "q1", model: str = "gpt-4o-mini", **body: Any) -> dict[str, Any]:
    request_body = {"model": model, "messages": [{"role": "user", "content": "Capital?"}], "max_tokens": 9} | body
    return {"custom_id": id_, "method": "POST", "url": "/v1/chat/completions", "body": request_body}


def response(id_: str = "q1", model: str = "gpt-4o-mini-2024-07-18", **choice: Any) -> dict[str, Any]:
    choices = [{"index": 0, "message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"} | choice]
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    body = {"id": "c", "object": "chat.completion", "model": model, "choices": choices, "usage": usage}
    return {
        "id": "batch_req_1",
        "custom_id": id_,
        "response": {"status_code": 200, "request_id": "r", "body": body},
        "error": None,
    }


def test_a_response_is_the_answer_to_the_request_of_its_id(tmp_path: Path) -> None:
    requests = write_lines(tmp_path / "in.jsonl", [request("q2"), request(metadata={"level": "easy"})])
    answered = write_lines(tmp_path / "out.jsonl", [response(finish_reason="length")])
    [row] = rows(answered, requests)
    inputs = {"messages": [{"role": "user", "content": "Capital?"}]}
    assert row.example == Example("q1", "custom", "OpenAI batch, q1", inputs, (), {"level": "easy"})
    assert untimed(row.answer) == Generation("Paris", "length", 9, 1)
    assert (row.model, row.counted, row.where) == ("gpt-4o-mini", True, f"{answered}:1")


def test_log_probabilities_are_kept(tmp_path: Path) -> None:
    logprobs = {"content": [{"token": "Paris", "logprob": -0.5, "bytes": [80], "top_logprobs": []}]}
    path = write_lines(tmp_path / "b.jsonl", [request(), response(logprobs=logprobs)])
    [row] = rows(path)
    assert isinstance(row.answer, Generation)
    assert row.answer.logprobs == (TokenLogprob("Paris", -0.5),)


def test_models_that_were_asked_the_same_are_told_apart_by_the_longest_name(tmp_path: Path) -> None:
    requests = [request(model="gpt-4o"), request(model="gpt-4o-mini")]
    answers = [response(), response(model="gpt-4o-2024-08-06")]
    path = write_lines(tmp_path / "b.jsonl", [*requests, *answers])
    assert [row.model for row in rows(path)] == ["gpt-4o-mini", "gpt-4o"]
    other_output = write_lines(tmp_path / "c.jsonl", [response(model="o3")])
    with pytest.raises(DataError, match=r"c\.jsonl:1: response\.body\.model: 'o3' is not among gpt-4o, gpt-4o-mini"):
        rows(path, other_output)
    assert [row.model for row in rows(path, SourceFile(other_output, "mine"))][-1] == "mine"


def test_parts_of_text_are_joined_and_developers_are_the_system(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": " there"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    [row] = rows(write_lines(tmp_path / "b.jsonl", [request(messages=messages), response()]))
    assert row.example.prompt_inputs["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello there"},
    ]


def test_errors_are_failures(tmp_path: Path) -> None:
    too_long = {"code": "context_length_exceeded", "message": "Too long."}
    refused = response() | {"response": {"status_code": 400, "body": {"error": too_long}}}
    expired = response() | {"response": None, "error": {"code": "batch_expired", "message": "Too late."}}
    cut = response(finish_reason="content_filter")
    first, second, third = rows(write_lines(tmp_path / "b.jsonl", [request(), refused, expired, cut]))
    assert untimed(first.answer) == Failure("context_length", "Too long.")
    assert untimed(second.answer) == Failure("error", "Too late.")
    assert isinstance(third.answer, Failure)
    assert "content_filter" in third.answer.message


IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([request("q2"), response()], r":2: custom_id: no request 'q1' is among the files to import\."),
        ([request(messages=IMAGE)], r":1: body\.messages: only texts can be imported\."),
        ([request(messages=["Hi"])], r":1: body\.messages: must be a list of objects, not 'Hi'\."),
        ([request(model=None)], r":1: body\.model: must be a string, not None\."),
        ([{"custom_id": "q1", "body": {"model": "m", "input": "x"}}], r":1: body: must have messages or a prompt"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_line_and_field(tmp_path: Path, lines: list[Any], sentence: str) -> None:
    with pytest.raises(DataError, match=rf"b\.jsonl{sentence}"):
        rows(write_lines(tmp_path / "b.jsonl", lines))


def test_a_named_output_answers_the_request_of_that_model(tmp_path: Path) -> None:
    entries = [request(model="a"), request(model="b", messages=[{"role": "user", "content": "River?"}])]
    requests, answered = write_lines(tmp_path / "in.jsonl", entries), write_lines(tmp_path / "out.jsonl", [response()])
    [row] = rows(requests, SourceFile(answered, "b"))
    assert row.example.prompt_inputs == {"messages": [{"role": "user", "content": "River?"}]}
    with pytest.raises(DataError, match=r"custom_id: several requests have it, of a, b; name the file after one"):
        rows(requests, SourceFile(answered, "c"))


@pytest.mark.parametrize(
    ("response_", "message"),
    [
        ({"status_code": 500, "body": "Internal error"}, "The batch names no reason."),
        ({"status_code": 500, "body": {"error": "overloaded"}}, "overloaded"),
        (None, "The batch names no reason."),
    ],
)
def test_an_error_page_is_a_failure(tmp_path: Path, response_: Any, message: str) -> None:
    answered = write_lines(tmp_path / "out.jsonl", [response() | {"response": response_}])
    [row] = rows(write_lines(tmp_path / "in.jsonl", [request()]), answered)
    assert isinstance(row.answer, Failure)
    assert row.answer.message == message
