"""Records to calibrate on."""

from pathlib import Path

import pytest

from tests.evaluation.synthetic import records


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return records(tmp_path_factory.mktemp("records") / "records.jsonl", 400)
