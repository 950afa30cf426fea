"""Small files in the formats of publishers, as the tests of imports write them, and where the real ones are."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from serve_app.evaluation.importing.formats.catalogue import reader
from serve_app.evaluation.importing.formats.rows import Row, SourceFile

OUTPUTS = Path(__file__).parents[4] / "shared" / "outputs"


def published(pattern: str) -> list[Path]:
    """Return the real files that match a pattern, in the order of their names."""
    if not OUTPUTS.exists():
        pytest.skip(f"no published answers: {OUTPUTS} is missing")
    return sorted(OUTPUTS.glob(pattern))


def write_list(path: Path, rows: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(rows, indent=1).encode()
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


def write_lines(path: Path, rows: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rows(*paths: Path | SourceFile, format_: str | None = None) -> list[Row]:
    """Return the rows that the files' own format reads."""
    files = [path if isinstance(path, SourceFile) else SourceFile(path) for path in paths]
    return list(reader(files, format_)(files))


def zeroeval_row(number: int = 0, output: str = '{"answer": "18"}', **fields: Any) -> dict[str, Any]:
    return {
        "session_id": f"gsm8k-main-test-#{number}",
        "chat_history": [f"## Question: Ducks and {number} eggs?"],
        "model_input": "n/a",
        "output": [output],
        "generator": "google/gemma-2-9b-it",
        "configs": {"engine": "vllm"},
        "dataset": "gsm",
        "id": f"gsm8k-main-test-#{number}",
        "question": f"Ducks and {number} eggs?",
        "answer": "# 18",
        "source": "openai/gsm8k",
        "config": "main",
        "task_type": "qa",
    } | fields
