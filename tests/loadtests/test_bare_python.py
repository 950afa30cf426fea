"""A machine that only sends load has no server installed."""

import subprocess
import sys
from pathlib import Path

import pytest

LOADTESTS = Path(__file__).parents[2] / "loadtests"
MODULES = ("gates", "log", "mix", "options", "schedule", "server", "summary", "trace")
"""The others need what locust and its report bring along."""


@pytest.mark.parametrize("module", MODULES)
def test_it_needs_python_alone(module: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(LOADTESTS)!r}); import load.{module}"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
