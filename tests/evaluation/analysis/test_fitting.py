"""A fit makes a new data set: with the fitted signals everywhere, and without changing the one it was fitted on."""

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.errors import DataError
from serve_app.evaluation.analysis.candidates import semantic
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.fitting import fitted, with_signals
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.records.file import Records
from serve_app.signals import BlendConfig
from tests.evaluation.synthetic import answers, args, questions, write_records

ZSCORES = {"small": {"mean": 0, "std": 1}, "tiny": {"mean": 0, "std": 1}}
SIGNALS: dict[str, Any] = {
    "mixed": {"kind": "mix", "parts": [{"signal": "rouge1"}, {"signal": "exact"}]},
    "sure": {"kind": "chow_avg", "zscores": ZSCORES},
    "both": {"kind": "blend", "agreement": "mixed", "confidence": "sure"},
}


def load(path: Path, signal: str, *, references: bool = True) -> Dataset:
    examples = questions(200)
    columns = answers(["small", "tiny", "large"], examples)
    if not references:
        examples = [type(example)(example.id, example.task, "x", example.prompt_inputs, ()) for example in examples]
    records = Records.load(write_records(path, args(signal=signal) | {"signals": SIGNALS}, examples, columns))
    return load_dataset(records, Options(signals=(signal,), references_required=references))


def test_a_replay_scores_by_the_signals_of_its_own_data_set(tmp_path: Path) -> None:
    before = load(tmp_path / "r.jsonl", "mixed")
    [tier, _] = before.config.tiers("default", [0.5])
    mixed = before.config.all_signals()["mixed"]
    parts = [mixed.parts[0].model_copy(update={"weight": 3.0}), mixed.parts[1]]  # type: ignore[union-attr]
    after = with_signals(before, {"mixed": mixed.model_copy(update={"parts": parts})})
    rouge1, exact = (before.replay.similarities[None][name].matrices[:, 0, 1] for name in ("rouge1", "exact"))
    disagreeing = (rouge1 > 0) & (exact == 0) & ~np.isnan(before.replay.score(tier).scores)
    assert disagreeing.any()
    assert before.replay.score(tier).scores[disagreeing] == pytest.approx(rouge1[disagreeing] / 2)
    assert after.replay.score(tier).scores[disagreeing] == pytest.approx(rouge1[disagreeing] * 3 / 4)


def test_candidates_after_a_fit_have_the_fitted_weights(tmp_path: Path) -> None:
    before = load(tmp_path / "r.jsonl", "both")
    signals = fitted(before, np.arange(len(before)))
    after = with_signals(before, signals)
    blend, [tier, _] = signals["both"], after.config.tiers("default", [0.5])
    assert isinstance(blend, BlendConfig)
    assert blend.logistic
    assert {candidate.tier.blend for candidate in semantic(after, tier, after.groups[0].index)} == {blend.blend_rule()}
    assert after.config.all_signals()["both"] == after.signals["both"] == blend


def test_a_fit_leaves_the_data_set_as_it_was(tmp_path: Path) -> None:
    before = load(tmp_path / "r.jsonl", "both")
    [tier, _] = before.config.tiers("default", [0.5])
    chow = before.config.confidence_of("both")
    config, scores = before.config.model_copy(deep=True), before.replay.score(tier, chow).scores
    with_signals(before, fitted(before, np.arange(len(before))))
    assert before.config == config
    assert before.replay.score(tier, chow).scores == pytest.approx(scores, nan_ok=True)
    with pytest.raises(FrozenInstanceError):
        before.config = config  # type: ignore[misc]


def test_a_blend_needs_references(tmp_path: Path) -> None:
    dataset = load(tmp_path / "r.jsonl", "both", references=False)
    with pytest.raises(DataError, match="some examples have no references"):
        fitted(dataset, np.arange(len(dataset)))
