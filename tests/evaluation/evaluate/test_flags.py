"""What an evaluation points out about a row."""

from pathlib import Path

import pytest

from serve_app.core.types.answer import Answer, Generation
from serve_app.evaluation.analysis.dataset import hashed_share
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.evaluate.results import Evaluation
from serve_app.evaluation.evaluate.words import remarks
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.statistics.binomial import binomial_interval
from tests.evaluation.evaluate.evaluating import generation, load, only, row
from tests.evaluation.synthetic import answers, args, questions, write_records


def planted(path: Path) -> tuple[list[Example], Evaluation]:
    """Evaluate members that agree on four of ten questions: three are right, one is a mistake that only they share.

    On the six that they disagree on the target errs, too, so deferring them buys nothing.
    """
    examples = questions(200)
    columns: dict[str, list[Answer]] = {"small": [], "tiny": [], "large": []}
    for k, example in enumerate(examples):
        right = example.references[0]
        texts = (right, right, right) if k % 10 < 3 else ("oops", "oops", right) if k % 10 == 3 else ("a", "b", "c")
        for model, text in zip(columns, texts, strict=True):
            columns[model].append(generation(text))
    return examples, evaluate(load(write_records(path, args(signal="exact"), examples, columns), signals=("exact",)))


def test_agreed_and_wrong_is_counted_beside_what_independent_members_would_give(tmp_path: Path) -> None:
    examples, evaluation = planted(tmp_path / "r.jsonl")
    test = [k for k, example in enumerate(examples) if hashed_share(example.id, 0) >= 1 / 3]
    agreed = [k for k in test if k % 10 < 4]
    wrong = [k for k in test if k % 10 == 3]
    entry = row(evaluation, kind="semantic", signal="exact", agreement="max")
    at = entry["accepted"]["0.6"]
    assert at["rate"] == pytest.approx(1 - len(agreed) / len(test))
    assert at["worse"] == pytest.approx([len(wrong) / len(agreed), *binomial_interval(len(wrong), len(agreed))])
    assert at["mean_loss"] == pytest.approx(len(wrong) / len(agreed))
    assert at["gain"] == [0, 0, 0]
    # Each is below the target on the shared mistakes alone.
    share = len(wrong) / len(test)
    assert entry["if_independent"] == pytest.approx(share**2 / (share**2 + (1 - share) ** 2))
    assert only(evaluation)["models"]["small"]["worse"][0] == pytest.approx(share)
    assert only(evaluation)["models"]["large"]["worse"][0] == 0
    assert entry["flags"] == ["Deferring buys nothing: the target is no better on what is deferred (at about 40%)."]
    [cascade] = evaluation.groups[0].cascades
    assert sum("Deferring buys nothing" in remark for remark in remarks(cascade)) == 1
    # Of what is shown as the worst, everything is agreed and wrong.
    worst = only(evaluation)["looked_at"]["worst"]
    assert len(worst) == 5
    assert {example["id"] for example in worst} <= {examples[k].id for k in wrong}
    assert {(example["agreement"], example["answers"]["small"]["quality"]) for example in worst} == {(1, 0)}


def test_a_gain_that_may_be_luck_is_not_shown(tmp_path: Path) -> None:
    """On the deferred the target is right once, and the small one never."""
    examples = questions(60)
    test = [k for k, example in enumerate(examples) if hashed_share(example.id, 0) >= 1 / 3]
    alike = {example.id: generation(example.references[0] if k % 2 else str(k)) for k, example in enumerate(examples)}
    large = [generation(example.references[0] if k % 2 else "x") for k, example in enumerate(examples)]
    large[next(k for k in test if k % 2 == 0)] = generation(examples[next(k for k in test if k % 2 == 0)].references[0])
    columns: dict[str, list[Answer]] = {
        "small": list(alike.values()),
        "tiny": [generation(example.references[0] if k % 2 else "y") for k, example in enumerate(examples)],
        "large": list(large),
    }
    path = write_records(tmp_path / "r.jsonl", args(signal="exact"), examples, columns)
    entry = row(evaluate(load(path, signals=("exact",))), kind="semantic", signal="exact", agreement="max")
    gain = entry["accepted"]["0.4"]["gain"]
    assert gain[1] == 0 < gain[0]
    assert entry["flags"] == [
        "Deferring is not shown to buy anything: the target's gain on what is deferred (at about 40%) may be 0."
    ]


def test_flags(tmp_path: Path) -> None:
    examples = questions(60)
    columns: dict[str, list[Answer]] = dict(answers(["small"], examples))
    columns["tiny"] = [Generation(example.references[0], "stop", 1, 3) for example in examples]
    columns["large"] = [Generation("no", "stop", 1, 1) for _ in examples]
    path = write_records(tmp_path / "r.jsonl", args(signal="exact"), examples, columns)
    evaluation = evaluate(load(path, metrics=("rougeL", "f1")))
    assert [flag.split(" (")[0] for flag in only(evaluation)["flags"]] == [
        "small is better than the target large",
        "tiny is better than the target large",
    ]
    assert "also the quality metric" in row(evaluation, kind="semantic", signal="rougeL", agreement="max")["flags"][0]
    assert set(row(evaluation, kind="semantic", signal="rougeL", agreement="max")["other_metrics"]) == {"f1"}
    assert only(evaluation)["notes"] == ["No log-probabilities of tiny in the records, so no Chow signal of theirs."]
    same = {name: [Generation("no", "stop", 1, 1)] * 60 for name in ("small", "tiny", "large")}
    alike = evaluate(load(write_records(tmp_path / "s.jsonl", args(), examples, same)))
    assert row(alike, kind="semantic", signal="exact", agreement="max")["flags"] == [
        "Every example has the same score, so this is random deferral."
    ]
