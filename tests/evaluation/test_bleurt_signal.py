"""BLEURT as signal and as metric of an evaluation, in its own environment, on a tiny checkpoint."""

from pathlib import Path
from typing import Any

import pytest

from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.analysis.similarities import measure
from serve_app.evaluation.evaluate.evaluate import evaluate
from serve_app.evaluation.records.file import Records
from serve_app.signals import BleurtConfig
from tests.evaluation.synthetic import answers, args, questions, write_records
from tests.models.bleurt_process import BleurtProcess


@pytest.fixture
def settings(bleurt_python: Path, bleurt_checkpoint: Path) -> dict[str, Any]:
    return {"weights": str(bleurt_checkpoint), "environment": str(bleurt_python), "device": "cpu", "threads": 1}


def test_matrices_are_those_of_the_served_signal(bleurt: BleurtProcess, settings: dict[str, Any]) -> None:
    texts = [
        ["The cat sat.", "A cat was sitting.", "Dogs bark."],
        ["Paris", "Paris", ""],
        ["", " ", "Rome"],
        ["The cat sat.", "Dogs bark.", "It rains cats and dogs in Rome."],
    ]
    similarities = measure({"bleurt": BleurtConfig(**settings)}, texts)["bleurt"]
    assert similarities.flops is None
    for number, expected in enumerate(bleurt.similarities(texts)):
        for row, expected_row in zip(similarities.matrices[number], expected.similarities, strict=True):
            assert row == pytest.approx(expected_row, abs=1e-5)


def test_evaluated_by_itself_it_has_a_second_metric(tmp_path: Path, settings: dict[str, Any]) -> None:
    config = args(signal="bleurt")
    config["signals"] = {"bleurt": {"kind": "bleurt"} | settings}
    examples = questions(60)
    path = write_records(tmp_path / "r.jsonl", config, examples, answers(["small", "tiny", "large"], examples))
    options = Options(signals=("bleurt", "rougeL"), metrics=("bleurt",), resamples=50)
    [group] = evaluate(load_dataset(Records.load(path), options)).to_json()["groups"]
    assert group["metrics"] == ["bleurt", "f1"]
    rows = {row["signal"]: row for row in group["cascades"][0]["rows"]}
    assert list(rows["bleurt"]["other_metrics"]) == ["f1"]
    assert "also the quality metric" in " ".join(rows["bleurt"]["flags"])
    assert "also the quality metric" not in " ".join(rows["rougeL"]["flags"])
