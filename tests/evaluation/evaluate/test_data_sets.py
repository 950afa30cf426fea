"""Evaluations of several data sets, by themselves and pooled."""

from pathlib import Path

import numpy as np
import pytest

from serve_app.core.types.answer import Answer, Generation, TokenLogprob
from serve_app.evaluation.analysis.candidates import fit_sample, fitted_chows
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.records.example import Example
from tests.evaluation.evaluate.evaluating import load
from tests.evaluation.synthetic import answers, args, questions, reference, write_records


def test_several_data_sets_are_pooled_too(tmp_path: Path) -> None:
    examples = [*questions(40), *questions(50, "Other")]
    path = write_records(tmp_path / "r.jsonl", args(), examples, answers(["small", "tiny", "large"], examples))
    evaluation = evaluate(load(path, metrics=("rougeL",)))
    [*parts, whole] = [(group["test"], group["cascades"][0]) for group in evaluation.to_json()["groups"]]
    for metric in ("rougeL", "f1"):
        sums = [test * cascade["models"]["small"]["quality"][metric] for test, cascade in (*parts, whole)]
        assert sum(sums[:-1]) == pytest.approx(sums[-1])
    pooled = whole[1]
    assert [list(row["other_metrics"]) for row in pooled["rows"]] == [["f1"]] * len(pooled["rows"])
    assert [(group["name"], group["fit"] + group["test"]) for group in evaluation.to_json()["groups"]] == [
        ("Synthetic", 40),
        ("Other", 50),
        ("all", 90),
    ]


def test_of_many_examples_z_scores_are_fitted_on_some_of_every_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second data set comes after the first, and is as good as none where only the first are taken."""
    monkeypatch.setattr("serve_app.evaluation.analysis.candidates.FIT_ANSWERS", 20)
    examples = [*questions(20), *questions(60, "Other")]
    columns: dict[str, list[Answer]] = {
        model: [
            Generation("yes", "stop", 1, 1, (TokenLogprob("yes", -1.0 if k < 20 else -5.0 + k % 2),))
            for k in range(len(examples))
        ]
        for model in ("small", "tiny", "large")
    }
    dataset = load(write_records(tmp_path / "r.jsonl", args(), examples, columns))
    everything = np.arange(len(examples))
    assert fit_sample(everything).tolist() == list(range(0, 80, 4))
    assert fit_sample(everything[:20]).tolist() == list(range(20))
    [chow] = [chow for chow in fitted_chows(dataset, ("small",), everything) if chow.kind == "chow_sum"]
    assert chow.zscores["small"].mean == pytest.approx((5 * -1.0 + 15 * -5.0) / 20)


def test_data_sets_of_other_metrics_are_pooled_by_the_place_of_each(tmp_path: Path) -> None:
    own_examples = [
        Example(f"m{k}", "custom", f"Mine, {k}", {"prompt": f"Say {k}"}, (reference(k),)) for k in range(40)
    ]
    examples = [*questions(40), *own_examples]
    path = write_records(tmp_path / "r.jsonl", args(), examples, answers(["small", "tiny", "large"], examples))
    evaluation = evaluate(load(path))
    metrics = [["f1", "exact_match", "accuracy"], ["rougeL", "f1"], ["f1 / rougeL", "exact_match / f1"]]
    assert [group["metrics"] for group in evaluation.to_json()["groups"]] == metrics
