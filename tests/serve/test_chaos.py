"""A short run of `make chaos`: a minute of faults from one seed, on several raylets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.serve, pytest.mark.slow]

LONGEST_S = 400


def test_every_request_ends_as_it_should(tmp_path: Path) -> None:
    report = tmp_path / "chaos.json"
    command = [sys.executable, "-m", "loadtests.chaos", "--minutes", "1", "--seed", "4", "--report", str(report)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    results = json.loads(report.read_text())
    assert len(results["faults"]) >= 2
    assert [row["answered"] > 0.5 for row in results["table"] if row["fault"] in ("no fault", "all")] == [True, True]
