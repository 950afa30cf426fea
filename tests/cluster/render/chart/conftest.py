"""Real Helm, if `.venv-helm` has it."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.overlays import ROOT

PYTHON = ROOT / ".venv-helm" / "bin" / "python"
Helm = Callable[..., Any]


@pytest.fixture(scope="package")
def helm() -> Iterator[Helm]:
    """Ask Helm to `lint` a chart, or for its `template` with values; ValueError has what Helm says against it."""
    if not PYTHON.exists():
        pytest.skip("needs Helm in .venv-helm: make helm-env")
    command = [str(PYTHON), str(ROOT / "tests" / "cluster" / "helm.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout

        def ask(command: str, chart: Path, values: Any = None, release: str = "cascade") -> Any:
            request = {
                "command": command,
                "chart": str(chart),
                "values": values,
                "release": release,
                "namespace": "llm",
            }
            print(json.dumps(request), file=process.stdin, flush=True)
            answer = json.loads(process.stdout.readline())
            if "error" in answer:
                raise ValueError(answer["error"])
            return answer["result"]

        yield ask
        process.stdin.close()
