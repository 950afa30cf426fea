"""Areas do not hang on the rounding of floats."""

from pathlib import Path

import numpy as np
import pytest

from serve_app.core.types.answer import Generation
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.curves import sweep
from tests.evaluation.synthetic import args, questions, write_records

MEMBERS = ["small", "tiny", "odd"]
COUNT = 60


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    draw = np.random.default_rng(4)
    columns = {
        model: [Generation(" ".join(draw.choice(list("abcde"), 3)), "stop", 5, 3) for _ in range(COUNT)]
        for model in [*MEMBERS, "large"]
    }
    path = write_records(tmp_path / "r.jsonl", args(MEMBERS, signal="rouge1"), questions(COUNT), columns)
    return load_dataset(Records.load(path), Options(signals=("rouge1",)))


def area(dataset: Dataset) -> float:
    tier = dataset.config.tiers("default", [0.5])[0]
    selected = np.random.default_rng(0).random(COUNT)
    return sweep(dataset.replay.score(tier).scores, selected, np.ones(COUNT)).area


def test_noise_of_floats_changes_no_area(dataset: Dataset) -> None:
    before = area(dataset)
    matrices = dataset.replay.similarities[None]["rouge1"].matrices
    matrices += np.random.default_rng(1).uniform(-1e-15, 1e-15, matrices.shape)
    assert area(dataset) == before
    matrices += np.random.default_rng(1).uniform(-1e-3, 1e-3, matrices.shape)
    assert area(dataset) != before
