"""An environment of its own for each peer, below .venv-peers; made once."""

import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".venv-peers"
PACKAGES = {
    "litellm": ["litellm[proxy]==1.108.7"],
    "cascade-inference": ["cascade-inference==0.1.1", "scipy"],
    "ucci-router": ["ucci-router==0.1.1"],
    "automix-llm": ["automix-llm==1.0.3", "pandas", "scipy"],
    "cascadeflow": ["cascadeflow==1.2.0"],
}
"""What pip installs of each; the further packages are those that a peer imports and does not declare."""
SECONDS = 1800


class UnavailableError(Exception):
    """A peer that cannot be installed here, and why."""


def python_of(peer: str) -> Path:
    """Return the Python of a peer's environment, which is made if need be. Raises UnavailableError with pip's error."""
    folder = FOLDER / peer
    python, complete = folder / "bin" / "python", folder / "complete"
    if complete.exists() and complete.read_text() == " ".join(PACKAGES[peer]):
        return python
    print(f"{peer}: installing into {folder}", file=sys.stderr)
    try:
        if not python.exists():
            _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "-q", *PACKAGES[peer]])
    except UnavailableError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    complete.write_text(" ".join(PACKAGES[peer]))
    return python


def _run(command: list[str]) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"`{' '.join(command)}` took longer than {SECONDS} s") from None
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or ["pip failed"]
        raise UnavailableError(next((line for line in lines if "ERROR" in line), lines[-1]))
