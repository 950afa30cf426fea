"""Real Helm, if `.venv-helm` has it."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.overlays import ROOT

ENVIRONMENT = ROOT / ".venv-helm"
Helm = Callable[..., Any]


def why_not(environment: Path) -> str | None:
    """Return why the environment has no Helm, or None if it has: `.tried` is a stamp, `.failed` what pip said last."""
    if not (environment / ".tried").exists():
        return "needs Helm in .venv-helm: make helm-env"
    failed = environment / ".failed"
    if not failed.exists():
        return None
    return f"pip found no Helm ({(failed.read_text().splitlines() or ['no message'])[-1]}): make helm-env"


@pytest.fixture(scope="package")
def helm() -> Iterator[Helm]:
    """Ask Helm to `lint` a chart, or for its `template` with values; ValueError has what Helm says against it."""
    if reason := why_not(ENVIRONMENT):
        pytest.skip(reason)
    command = [str(ENVIRONMENT / "bin" / "python"), str(ROOT / "tests" / "cluster" / "helm.py")]
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
