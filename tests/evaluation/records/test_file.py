import gzip
import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.cost import ModelCost
from serve_app.core.types import Answer, Failure, FailureKind, FinishReason, Generation, TokenLogprob, ToolCall
from serve_app.errors import DataError
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.file import (
    Header,
    Records,
    answer_body,
    encode_line,
    example_body,
    parse_line,
    read_answer,
    read_example,
)
from serve_app.evaluation.records.writer import Recorder
from tests.evaluation.collecting import MODELS, question

FACTS: dict[str, Any] = {
    "engine": "replay",
    "parameters": 1e9,
    "active_parameters": None,
    "cost": {"parameters": 1e9, "input_usd": 0.5, "output_usd": 1.5, "devices": 2},
    "weights": None,
    "weights_sha256": None,
}


def header(models: Sequence[str] = ("a", "t")) -> Header:
    *members, target = models
    signal = "exact" if len(members) > 1 else "chow_avg"
    tiers = [{"models": members, "signal": signal, "threshold": 0.5}, {"models": [target]}]
    args = {"models": {name: MODELS[name] for name in models}, "cascades": {"default": {"tiers": tiers}}}
    return Header(
        created="2026-11-22T00:00:00+00:00",
        config={"digest": "c", "args": args},
        data={"digest": "d", "examples": 2, "files": ["x.jsonl"]},
        prompts={"digest": "p", "texts": {"closed_book_qa": "Q: {question}"}},
        sampling={"temperature": 0.0, "logprobs": True, "max_tokens": {"closed_book_qa": 48}},
        asked={"through": "engines", "concurrency": 4},
        models=dict.fromkeys(models, FACTS),
        versions={"python": "3.11"},
    )


def write(path: Path, *bodies: dict[str, Any]) -> Path:
    path.write_bytes(b"".join(map(encode_line, bodies)))
    return path


TEXTS = st.text(st.characters(), max_size=20)  # lone surrogates and line separators, too
NUMBERS = st.floats(0, 1e6)
COUNTS = st.integers(0, 10**6)
GENERATIONS = st.builds(
    Generation,
    text=TEXTS,
    finish_reason=st.sampled_from(get_args(FinishReason)),
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    logprobs=st.none() | st.lists(st.builds(TokenLogprob, TEXTS, st.floats(-1e6, 0))).map(tuple),
    latency_s=NUMBERS,
    first_token_s=st.none() | NUMBERS,
    tool_calls=st.lists(st.builds(ToolCall, TEXTS, TEXTS, TEXTS), max_size=2).map(tuple),
    estimated=st.booleans(),
)
FAILURES = st.builds(
    Failure, st.sampled_from(get_args(FailureKind)), TEXTS, COUNTS, COUNTS, NUMBERS, st.booleans(), st.just(False)
)


@given(st.lists(st.none() | GENERATIONS | FAILURES, min_size=1, max_size=4))
def test_every_answer_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, answers: list[Answer | None]
) -> None:
    examples = [question(i) for i in range(len(answers))]
    lines = [answer_body(example.id, "a", answer) for example, answer in zip(examples, answers, strict=True) if answer]
    path = tmp_path_factory.mktemp("records") / "r.jsonl"
    records = Records.load(write(path, header().body(), *map(example_body, examples), *lines))
    assert list(records.answers["a"]) == answers
    assert records.answers["a"][len(answers) - 1] == answers[-1]
    assert list(records.answers["t"]) == [None] * len(answers)
    for i, answer in enumerate(answers):
        values = records.answers["a"].logprobs(i)
        given_ = answer.logprobs if isinstance(answer, Generation) else None
        assert (None if values is None else list(values)) == (None if given_ is None else [x.logprob for x in given_])
        light = replace(answer, logprobs=None) if isinstance(answer, Generation) else answer
        assert records.answers["a"].without_logprobs(i) == light
    assert records.complete(["a"]) == [i for i, answer in enumerate(answers) if answer]
    assert records.complete() == []


@given(
    st.builds(
        Example,
        TEXTS.filter(bool),
        st.just("custom"),
        TEXTS,
        st.fixed_dictionaries({"prompt": TEXTS}),
        st.lists(TEXTS).map(tuple),
    )
)
def test_every_example_comes_back_as_it_was(example: Example) -> None:
    assert read_example(parse_line(Path("r"), 1, encode_line(example_body(example)))) == example


def test_the_format_in_the_docstring() -> None:
    line = (
        '{"kind": "answer", "example": "1", "model": "small", "text": "Paris", "finish_reason": "stop", '
        '"prompt_tokens": 12, "completion_tokens": 2, "latency_s": 0.4, "first_token_s": 0.3, '
        '"logprobs": [["Paris", -0.1]]}'
    )
    answer = Generation("Paris", "stop", 12, 2, (TokenLogprob("Paris", -0.1),), 0.4, 0.3)
    assert read_answer(json.loads(line)) == answer
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


def test_what_stands_in_the_header(tmp_path: Path) -> None:
    records = Records.load(write(tmp_path / "r.jsonl", header().body(), example_body(question(1))))
    assert records.header == header()
    assert records.models == ("a", "t")
    assert records.costs == {name: ModelCost(1e9, 0.5, 1.5, 2) for name in ("a", "t")}
    assert records.config.thresholds() == {"default": [0.5]}
    assert records.examples == [question(1)]


def test_later_headers_and_answers_count(tmp_path: Path) -> None:
    first, second = Failure("timeout", "slow"), Generation("Paris", "stop", 5, 1)
    logged = replace(second, logprobs=(TokenLogprob("Paris", -1.0),))
    lines = [
        header(("a", "t")).body(),
        example_body(question(1)),
        answer_body("q1", "a", first),
        answer_body("q1", "t", logged),
        header(("a", "b", "t")).body(),
        example_body(question(2)),
        answer_body("q1", "a", second),
        answer_body("q1", "t", second),
    ]
    records = Records.load(write(tmp_path / "r.jsonl", *lines))
    assert records.models == ("a", "b", "t")
    assert [list(column) for column in records.answers.values()] == [[second, None], [None, None], [second, None]]


def test_compressed_and_still_being_written(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", header().body(), example_body(question(1)))
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"kind": "answer", "exam')
    assert Records.load(path).examples == [question(1)]
    packed = tmp_path / "r.jsonl.gz"
    packed.write_bytes(gzip.compress(whole))
    assert Records.load(packed).examples == [question(1)]
    packed.write_bytes(gzip.compress(whole)[:-12])
    with pytest.raises(DataError, match=r"The records '.*r\.jsonl\.gz' cannot be read"):
        Records.load(packed)


ANSWER = answer_body("q1", "a", Generation("x", "stop", 1, 1))


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], r"holds no records: it is empty\."),
        (["{"], r":1: not a line of records: Expecting property name"),
        (["[]"], r":1: not a line of records: must be a JSON object\."),
        ([{"id": "1"}], r":1: not a line of records: a header comes first\."),
        ([{"kind": "header", "format": 2}], r":1: not a line of records: the format is 2, and this version reads 1\."),
        ([{"kind": "header", "format": 1}], r":1: not a line of records: created: required, but missing\."),
        ([header().body(), {"kind": "thing"}], r":2: .* kind: 'thing' is none of header, example, answer\."),
        ([header().body(), example_body(question(1))] * 2, r":4: .* the example 'q1' stands there twice\."),
        ([header().body(), ANSWER], r":2: .* the example 'q1' does not stand before its answer\."),
        ([header().body(), {**ANSWER, "model": "z"}], r":2: .* the model 'z' is not in the header\."),
        (
            [header().body(), example_body(question(1)), {**ANSWER, "logprobs": [["x", "y"]]}],
            r":3: not a line of records: ",
        ),
    ],
)
def test_what_is_no_records_file(tmp_path: Path, lines: list[Any], sentence: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    with pytest.raises(DataError, match=sentence):
        Records.load(path)


FAILED = answer_body("q1", "a", Failure("timeout", "slow", 1, 1, 0.5))
CALLING = answer_body("q1", "a", Generation("", "tool_calls", 1, 1, tool_calls=(ToolCall("1", "look", "{}"),)))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({**ANSWER, "text": None}, "text: must be a string, not None"),
        (
            {**ANSWER, "finish_reason": "content_filter"},
            "finish_reason: 'content_filter' is none of stop, length, tool_calls",
        ),
        ({**ANSWER, "finish_reason": []}, r"finish_reason: must be a string, not \[\]"),
        ({**ANSWER, "prompt_tokens": "x"}, "prompt_tokens: must be a whole number, not 'x'"),
        ({**ANSWER, "completion_tokens": True}, "completion_tokens: must be a whole number, not True"),
        ({**ANSWER, "latency_s": None}, "latency_s: must be a number, not None"),
        ({**ANSWER, "first_token_s": "0"}, "first_token_s: must be a number, not '0'"),
        ({**ANSWER, "estimated": 1}, "estimated: must be true or false, not 1"),
        ({**ANSWER, "model": ["a"]}, r"model: must be a string, not \['a'\]"),
        ({name: value for name, value in ANSWER.items() if name != "example"}, "example: required, but missing"),
        ({name: value for name, value in ANSWER.items() if name != "text"}, "text: required, but missing"),
        ({**ANSWER, "logprobs": [["x", None]]}, "logprobs: must be pairs of a token and a number"),
        ({**ANSWER, "logprobs": [[None, -1]]}, "logprobs: must be pairs of a token and a number"),
        ({**ANSWER, "logprobs": [["x", 10**400]]}, "logprobs: must be pairs of a token and a number"),
        ({**ANSWER, "logprobs": 5}, "logprobs: must be pairs of a token and a number"),
        ({**FAILED, "failure": "tired"}, "failure: 'tired' is none of error, timeout"),
        ({**FAILED, "message": None}, "message: must be a string, not None"),
        ({**FAILED, "latency_s": "x"}, "latency_s: must be a number, not 'x'"),
        ({**CALLING, "tool_calls": 5}, "tool_calls: must be a list, not 5"),
        ({**CALLING, "tool_calls": ["x"]}, "tool_calls: must be objects with id, name, arguments, not 'x'"),
        ({**CALLING, "tool_calls": [{"id": "1", "name": "x"}]}, "tool_calls.arguments: required, but missing"),
        (
            {**CALLING, "tool_calls": [{"id": "1", "name": "x", "arguments": {}}]},
            r"tool_calls.arguments: must be a string, not \{\}",
        ),
    ],
)
def test_an_answer_that_is_none(tmp_path: Path, line: dict[str, Any], sentence: str) -> None:
    path = write(tmp_path / "r.jsonl", header().body(), example_body(question(1)), line)
    with pytest.raises(DataError, match=rf":3: not a line of records: {sentence}"):
        Records.load(path)
    if line.get("example"):
        with pytest.raises(DataError, match=rf":3: not a line of records: {sentence}"):
            Recorder(path, header(), [question(1)])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"config": 5}, "config: must be an object, not 5"),
        ({"config": {"digest": "c"}}, "config.args: required, but missing"),
        ({"data": {"files": []}}, "data.digest: required, but missing"),
        ({"data": {"digest": "d", "files": None}}, "data.files: must be a list, not None"),
        ({"prompts": {"digest": "p", "texts": []}}, r"prompts.texts: must be an object, not \[\]"),
        ({"asked": {}}, "asked.through: required, but missing"),
        ({"versions": None}, "versions: must be an object, not None"),
        ({"created": 5}, "created: must be a string, not 5"),
        ({"models": {"a": 5}}, "models.a: must be an object, not 5"),
        ({"models": {"a": {}}}, "models.a.cost: required, but missing"),
        ({"models": {"a": {"cost": {"tokens": 5}}}}, "models.a.cost.tokens: no such field"),
        ({"models": {"a": {"cost": {"parameters": "5"}}}}, "models.a.cost.parameters: must be a number, not '5'"),
        ({"models": {"a": {"cost": {"devices": None}}}}, "models.a.cost.devices: must be a number, not None"),
    ],
)
def test_a_header_that_is_none(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    path = write(tmp_path / "r.jsonl", header().body() | change)
    with pytest.raises(DataError, match=rf":1: not a line of records: {sentence}"):
        Records.load(path)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"The records 'nowhere\.jsonl' cannot be read"):
        Records.load(Path("nowhere.jsonl"))


def test_many_answers_with_log_probabilities_are_lean(tmp_path: Path) -> None:
    """100,000 examples with four models must fit beside evaluation in 4 GB: 40 tokens an answer in under 3 KB each."""
    tokens = tuple(TokenLogprob(f" word{i}", -i / 7) for i in range(40))
    answers = 4000
    bodies = [header(("a",)).body(), *(example_body(question(i)) for i in range(answers))]
    bodies += [
        answer_body(f"q{i}", "a", Generation("".join(item.token for item in tokens), "stop", 90, 40, tokens, 1.5, 0.5))
        for i in range(answers)
    ]
    path = write(tmp_path / "r.jsonl", *bodies)
    del bodies
    tracemalloc.start()
    try:
        records = Records.load(path)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert records.complete() == list(range(answers))
    assert size / answers < 3000
