import gzip
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve_app.core.cost import ModelCost
from serve_app.core.types.answer import Failure, Generation, TokenLogprob
from serve_app.errors import DataError
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.lines import answer_body, example_body
from serve_app.evaluation.records.writer import Recorder
from tests.evaluation.collecting import question
from tests.evaluation.records.headers import header, write


def test_what_a_file_holds(tmp_path: Path) -> None:
    records = Records.load(write(tmp_path / "r.jsonl", header().body(), example_body(question(1))))
    assert records.header == header()
    assert records.models == ("a", "t")
    assert records.costs == {name: ModelCost(1e9, 0.5, 1.5, 2) for name in ("a", "t")}
    assert records.config.thresholds() == {"default": [0.5]}
    assert records.examples == [question(1)]


@pytest.mark.parametrize(
    "texts", [{}, {"closed_book_qa": "{context}"}, {"closed_book_qa": "{0}"}, {"closed_book_qa": 1}]
)
def test_a_prompt_that_does_not_fit_an_example_is_named(tmp_path: Path, texts: dict[str, Any]) -> None:
    body = header().body()
    path = write(
        tmp_path / "r.jsonl", body | {"prompts": body["prompts"] | {"texts": texts}}, example_body(question(1))
    )
    records = Records.load(path)
    with pytest.raises(
        DataError, match=r"prompts\.texts\.closed_book_qa does not fit the inputs of the example 'q1' \("
    ):
        records.messages(0)


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


def test_scores_that_answers_were_given(tmp_path: Path) -> None:
    answer = Generation("Paris", "stop", 5, 1)
    lines = [
        header(("a", "t")).body(),
        *(example_body(question(i)) for i in (1, 2, 3)),
        answer_body("q1", "a", answer, {"judge": 1, "preference": 0.25}),
        answer_body("q2", "a", answer, {"judge": 0.5}),
        answer_body("q2", "a", answer),
        answer_body("q3", "t", Failure("error", "down"), {"clarity": 0}),
    ]
    records = Records.load(write(tmp_path / "r.jsonl", *lines))
    assert records.score_names == ("clarity", "judge", "preference")
    assert records.scores("judge", "a") == [1, None, None]
    assert records.scores("clarity", "t") == [None, None, 0]
    assert records.scores("clarity", "a") == [None, None, None]


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
    with pytest.raises(DataError, match=r"The file '.*r\.jsonl\.gz' cannot be read"):
        Records.load(packed)


def test_records_with_any_text_are_read_and_resumed(tmp_path: Path) -> None:
    """Also with half of a surrogate pair, which older versions wrote, and once an editor has saved them."""
    example = replace(question(1), prompt_inputs={"question": "one\u2028two\x85 \ud83d"})
    answer = Generation("\u2028 \x85 \ud83d", "stop", 1, 1, (TokenLogprob("\ud83d", -1.0),))
    path = write(tmp_path / "r.jsonl", header().body(), example_body(example), answer_body("q1", "a", answer))
    saved = tmp_path / "saved.jsonl"
    saved.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    for file in (path, saved):
        records = Records.load(file)
        assert (records.examples, list(records.answers["a"])) == ([example], [answer])
        with Recorder(file, header(), [example]) as recorder:
            assert (recorder.answered("a"), recorder.answered("t")) == ({"q1"}, set())
            recorder.add("q1", "t", answer)
        assert list(Records.load(file).answers["t"]) == [answer]


ANSWER = answer_body("q1", "a", Generation("x", "stop", 1, 1))


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], r"holds no records: it is empty\."),
        (["{"], r":1: not JSON: Expecting property name"),
        (["[]"], r":1: must be a JSON object\."),
        ([{"id": "1"}], r":1: not a line of records: a header comes first\."),
        ([{"kind": "header", "format": 2}], r":1: not a line of records: the format is 2, and this version reads 1\."),
        ([{"kind": "header", "format": 1}], r":1: not a line of records: created: required, but missing\."),
        ([header().body(), {"kind": "thing"}], r":2: .* kind: must be header, example or answer, not 'thing'\."),
        ([header().body(), example_body(question(1))] * 2, r":4: .* duplicate example 'q1'\."),
        ([header().body(), ANSWER], r":2: .* the example 'q1' must come before its answers\."),
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


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"The file 'nowhere\.jsonl' cannot be read"):
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
