"""Recorded answers scored by the core, with values worked by hand."""

from dataclasses import replace
from math import isnan
from pathlib import Path

import numpy as np
import pytest

from serve_app.core.types.answer import Failure, Generation, TokenLogprob
from serve_app.core.types.policy import Tier
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.records.file import Records
from serve_app.signals import ChowConfig, ZScore, confidence
from tests.evaluation.synthetic import answers, args, questions, write_records


def generation(text: str, *logprobs: float, finish: str = "stop") -> Generation:
    return Generation(text, finish, 10, 2, tuple(TokenLogprob("x", value) for value in logprobs), 0.5)  # type: ignore[arg-type]


BROKEN = Failure("error", "It broke.", 10, 0, 0.1)
COLUMNS = {
    "small": [
        generation("red fox", -0.1, -0.3),
        generation("red fox", -1.0),
        generation(""),
        generation("a", -0.2),
        BROKEN,
    ],
    "tiny": [generation("red fox", -0.5), generation("red hen", -2.0, -4.0), generation(""), BROKEN, BROKEN],
    "odd": [
        generation("a red fox", -0.5),
        generation("blue", -1.0),
        generation("blue", -1.0),
        generation("a", -0.4),
        generation("b", -1.0),
    ],
    "large": [generation("red fox")] * 5,
}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    members = ["small", "tiny", "odd"]
    path = write_records(tmp_path / "r.jsonl", args(members, signal="rouge1"), questions(5), COLUMNS)
    return load_dataset(Records.load(path), Options(signals=("rouge1", "exact")))


def tier(**options: object) -> Tier:
    return replace(Tier(("small", "tiny", "odd"), "rouge1"), **options)  # type: ignore[arg-type]


def test_scores_and_selection(dataset: Dataset) -> None:
    scored = dataset.replay.score(tier())
    # red fox twice and "a red fox" (2/3 of the words in common each: F1 .8): (1 + .8) / 2
    assert scored.scores[0] == pytest.approx(0.9)
    # red fox and red hen .5, blue 0: .25 for both, and the first of equals is selected
    assert scored.scores[1] == 0.25
    assert scored.scores[2] == 0  # two empty answers agree with nothing
    assert scored.scores[3] == 1  # two of three answered, alike
    assert isnan(scored.scores[4])  # one answer is not compared with anything
    assert scored.selected.tolist() == [0, 0, 2, 0, 2]


def test_reasons_at_a_threshold(dataset: Dataset) -> None:
    decisions = dataset.replay.decisions(tier(threshold=0.5))
    reasons = ["agreement", "disagreement", "disagreement", "agreement", "too_few_answers"]
    assert [decision.reason for decision in decisions] == reasons
    fixed = dataset.replay.decisions(tier(threshold=0.5, select="tiny"))
    assert [decision.selected for decision in fixed] == [1, 1, None, None, None]
    assert [decision.reason for decision in fixed][2:4] == ["nothing_to_return"] * 2


def test_an_index_scores_only_those_examples(dataset: Dataset) -> None:
    scored = dataset.replay.score(tier(), index=[3, 1])
    assert scored.scores[[1, 3]].tolist() == [0.25, 1]
    assert np.isnan(scored.scores[[0, 2, 4]]).all()
    assert scored.selected.tolist() == [-1, 0, -1, 0, -1]


def test_taking_values_of_the_selected(dataset: Dataset) -> None:
    scored = dataset.replay.score(tier(select="tiny"))
    values = np.arange(15, dtype=np.float64).reshape(3, 5)
    assert scored.take(values).tolist() == [5, 6, 0, 0, 0]


def test_confidences_are_the_signals_own(dataset: Dataset) -> None:
    chow = ChowConfig(kind="chow_avg", zscores={"small": ZScore(mean=-0.5, std=0.5), "tiny": ZScore(mean=-1, std=2)})
    own = confidence(chow)
    for model in ("small", "tiny", "odd"):
        for k, answer in enumerate(COLUMNS[model]):
            value = dataset.replay.confidences(chow, model)[k]
            if isinstance(answer, Generation):
                assert value == own(model, answer)
            else:
                assert isnan(value)


def test_a_token_level_ensemble(dataset: Dataset) -> None:
    names = ("small", "tiny")
    chow = ChowConfig(kind="chow_sum", zscores={name: ZScore(mean=-1, std=1) for name in names})
    scored = dataset.replay.score(Tier(names, "chow_sum", agreement="mean", confidence=confidence(chow)), chow)
    # sums -.4 and -.5, -1 and -6, each plus 1: the mean is s, the surer one is selected
    assert scored.scores[:2] == pytest.approx([0.55, -2.5])
    assert isnan(scored.scores[2])
    assert scored.selected.tolist() == [0, 0, -1, 0, -1]


def test_an_answer_without_log_probabilities_is_kept_by_no_threshold(tmp_path: Path) -> None:
    """Its score is -inf, and a config's lowest threshold defers that, too."""
    columns = {
        "small": [generation("red fox"), generation("red fox", -1.0)],
        "tiny": [generation("a")] * 2,
        "large": [generation("a")] * 2,
    }
    path = write_records(tmp_path / "r.jsonl", args(["small", "tiny"]), questions(2), columns)
    dataset, chow = load_dataset(Records.load(path), Options()), ChowConfig(kind="chow_sum")
    scored = dataset.replay.score(Tier(("small",), "chow_sum", confidence=confidence(chow)), chow)
    assert isnan(scored.scores[0])
    assert scored.scores[1] == -1
    assert scored.selected.tolist() == [0, 0]  # should the target fail


def test_a_blend_reads_both(tmp_path: Path) -> None:
    values = args(["small", "tiny"], signal="both")
    zscores = {"small": {"mean": 0, "std": 1}, "tiny": {"mean": 0, "std": 1}}
    values["signals"] = {
        "sure": {"kind": "chow_sum", "zscores": zscores},
        "both": {"kind": "blend", "agreement": "rouge1", "confidence": "sure", "weights": {"confidence": 0.5}},
    }
    columns = {name: COLUMNS[name][:2] for name in ("small", "tiny", "large")}
    dataset = load_dataset(Records.load(write_records(tmp_path / "r.jsonl", values, questions(2), columns)), Options())
    first = dataset.config.tiers("default", [0.0])[0]
    scored = dataset.replay.score(first, dataset.config.confidence_of("both"))
    # agreement 1 and .5; confidences -.4 and -.5, -1 and -6, of which half is added; the best counts
    assert scored.scores == pytest.approx([1 - 0.2, 0.5 - 0.5])


def test_judging_many_in_several_processes_is_the_same(tmp_path: Path) -> None:
    examples = questions(2300)
    columns = answers(["small", "tiny", "large"], examples)
    records = Records.load(write_records(tmp_path / "r.jsonl", args(signal="chrf"), examples, columns))
    serial, parallel = (load_dataset(records, Options(signals=("chrf", "bleu"), processes=count)) for count in (1, 2))
    for name in ("chrf", "bleu"):
        assert np.array_equal(
            serial.replay.similarities[None][name].matrices, parallel.replay.similarities[None][name].matrices
        )
