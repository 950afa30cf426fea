"""Which metrics grade which examples."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.errors import DataError, UsageError
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.records.file import Records
from tests.evaluation import synthetic

MODELS = ("small", "tiny", "large")


def rewritten(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    lines = [json.dumps(change(json.loads(line))) for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    return path


def loaded(path: Path, *metrics: str, required: bool = True) -> Dataset:
    options = Options(signals=("rougeL",), metrics=metrics or None, processes=1, references_required=required)
    return load_dataset(Records.load(path), options)


def with_scores(line: dict[str, Any]) -> dict[str, Any]:
    if line["kind"] != "answer" or "failure" in line:
        return line
    return line | {"scores": {"preference": MODELS.index(line["model"]) / 4}}


def without_references(line: dict[str, Any]) -> dict[str, Any]:
    return line | {"references": []} if line["kind"] == "example" else line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return synthetic.records(tmp_path / "records.jsonl", 12)


def test_scores_of_the_records_are_taken_as_they_are(path: Path) -> None:
    [group] = loaded(rewritten(path, with_scores), "preference", "f1").groups
    assert group.metrics == ("preference", "f1")
    for number, model in enumerate(MODELS):
        assert set(np.unique(group.quality["preference"][model])) <= {0, number / 4}


def test_examples_without_references_are_graded_by_the_scores_of_their_answers(path: Path) -> None:
    [group] = loaded(rewritten(rewritten(path, with_scores), without_references)).groups
    assert group.metrics == ("preference",)


def test_scores_that_some_answers_lack_are_no_metric(path: Path) -> None:
    first = next(line["model"] for line in map(json.loads, path.read_text().splitlines()) if line["kind"] == "answer")

    def some(line: dict[str, Any]) -> dict[str, Any]:
        scored = with_scores(line)
        if line.get("model") == first and "scores" in scored:
            scored["scores"]["more"] = 1.0
        return scored

    [group] = loaded(rewritten(rewritten(path, some), without_references)).groups
    assert group.metrics == ("preference",)


def test_examples_with_neither_have_no_quality(path: Path) -> None:
    [group] = loaded(rewritten(path, without_references), required=False).groups
    assert group.metrics == ()
    with pytest.raises(DataError, match="has no references: add them, or name a recorded score with --metric"):
        loaded(path)


def test_an_answer_that_lacks_the_score_is_named(path: Path) -> None:
    first = json.loads(next(line for line in path.read_text().splitlines() if '"text"' in line))

    def all_but_one(line: dict[str, Any]) -> dict[str, Any]:
        same = line["kind"] == "answer" and (line["model"], line["example"]) == (first["model"], first["example"])
        return line if same else with_scores(line)

    message = f"--metric preference: the answer of '{first['model']}' to the example '{first['example']}' has no such"
    with pytest.raises(UsageError, match=message):
        loaded(rewritten(path, all_but_one), "preference")


def test_metrics_by_task_and_by_data_set(path: Path) -> None:
    def halves(line: dict[str, Any]) -> dict[str, Any]:
        source = "a.jsonl, 1" if line.get("id", "")[-1:] in "02468" else "b.jsonl, 1"
        return line | {"source": source} if line["kind"] == "example" else line

    first, second, pooled = loaded(rewritten(path, halves), "a=accuracy", "a=f1", "exact_match", "f1").groups
    assert (first.name, first.metrics) == ("a.jsonl", ("accuracy", "f1"))
    assert (second.name, second.metrics) == ("b.jsonl", ("exact_match", "f1"))
    assert pooled.metrics == ("accuracy / exact_match", "f1")
    assert (first.binary, pooled.binary) == ({"accuracy"}, {"accuracy / exact_match"})
    with pytest.raises(UsageError, match="--metric c=f1: no task or data set 'c'"):
        loaded(path, "c=f1")


def test_the_configs_metric_of_a_task_comes_before_the_tasks_own(path: Path) -> None:
    def named(line: dict[str, Any]) -> dict[str, Any]:
        if line["kind"] != "header":
            return line
        metrics = {"official": {"metric": "triviaqa_em", "tasks": ["closed_book_qa"]}}
        return line | {"config": line["config"] | {"args": line["config"]["args"] | {"metrics": metrics}}}

    assert loaded(rewritten(path, named)).groups[0].metrics == ("official",)
    assert loaded(path, "f1").groups[0].metrics == ("f1",)
