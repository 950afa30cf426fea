from dataclasses import replace
from math import nan
from pathlib import Path

from rich.console import Console

from serve_app.core.types.answer import Failure, Generation, TokenLogprob
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.records.lines import answer_body, example_body
from serve_app.evaluation.records.summary import ModelSummary, render, summarise
from tests.evaluation.collecting import question
from tests.evaluation.records.headers import header, write


def records(folder: Path) -> Records:
    hard = replace(question(2, references=()), source="Geo, 2", metadata={"level": "hard", "hops": 2})
    easy = replace(question(3), source="Geo, 3", metadata={"level": "easy"})
    lines = [
        header().body(),
        *map(example_body, (question(1), hard, easy)),
        answer_body("q1", "a", Generation("x", "stop", 10, 2, (TokenLogprob("x", -1.0),), 0.5), {"judge": 0.5}),
        answer_body("q2", "a", Generation("y", "stop", 20, 5, latency_s=nan, estimated=True), {"judge": 1}),
        answer_body("q3", "a", Failure("error", "down")),
        answer_body("q1", "t", Generation("z", "stop", 11, 3)),
    ]
    return Records.load(write(folder / "r.jsonl", *lines))


def test_what_is_in_a_file(tmp_path: Path) -> None:
    summary = summarise(records(tmp_path))
    assert (summary.examples, summary.complete, summary.without_references) == (3, 1, 1)
    assert summary.data_sets == {"test (closed_book_qa)": 1, "Geo (closed_book_qa)": 2}
    assert summary.metadata == {"hops": 1, "level": 2}
    assert summary.cascades == ["default: a -> t"]
    assert summary.models == [
        ModelSummary("a", 1e9, 3, 1, 1, 1, 1, 15, 3.5, {"judge": 0.75}),
        ModelSummary("t", 1e9, 1, 0, 0, 0, 0, 11, 3, {}),
    ]
    assert summary.to_json()["models"][1]["model"] == "t"


def test_it_is_printed_as_tables_and_sentences(tmp_path: Path) -> None:
    console = Console(record=True, width=120)
    render(summarise(records(tmp_path)), console)
    printed = console.export_text()
    for text in (
        "a           1e+09        3       1          1        1          1             15              4  0.7500",
        "Geo (closed_book_qa)          2",
        "1 of 3 examples are answered by every model.",
        "Without references: 1 example.",
        "Metadata: hops (1 value), level (2 values).",
        "Estimated: answers whose tokens nobody counted.",
        "Untimed: answers whose latency nobody measured",
        "Cascade default: a -> t.",
        "Asked through engines, 2026-11-22T00:00:00+00:00; data d of x.jsonl.",
    ):
        assert text in printed


def test_a_file_without_answers_has_no_means(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", header().body(), example_body(question(1)))
    [model, _] = summarise(Records.load(path)).models
    assert (model.answers, model.prompt_tokens, model.scores) == (0, None, {})
