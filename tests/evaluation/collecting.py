"""What the tests of `collect` share: examples, a config of replay engines, and the command."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from serve_app.evaluation.records.example import Example
from tests.cli.in_process import cascade

DATA = Path(__file__).parents[3] / "shared" / "data"
MODELS = {
    "a": {"engine": "replay", "default": "Paris", "parameters": 1e8},
    "b": {"engine": "replay", "default": "It is Paris.", "parameters": 2e8, "input_usd": 0.1},
    "t": {"engine": "replay", "default": "Rome", "parameters": 1e9, "devices": 2},
}


def real_data(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no real data: {path} is missing")
    return path


def question(number: int, references: Sequence[str] = ("Paris",)) -> Example:
    inputs = {"question": f"Question number {number}?"}
    return Example(f"q{number}", "closed_book_qa", "test", inputs, tuple(references))


def write_examples(path: Path, examples: Sequence[Example]) -> Path:
    path.write_text("".join(json.dumps(example.body()) + "\n" for example in examples), encoding="utf-8")
    return path


def write_config(path: Path, models: Mapping[str, Any] = MODELS) -> Path:
    """Return a cascade whose last model is the target."""
    *members, target = models
    signal = "exact" if len(members) > 1 else "chow_avg"
    tiers = [{"models": members, "signal": signal, "threshold": 0.5}, {"models": [target]}]
    args = {"models": dict(models), "cascades": {"default": {"tiers": tiers}}}
    path.write_text(yaml.safe_dump({"applications": [{"import_path": "serve_app.app:build_app", "args": args}]}))
    return path


def command(*arguments: str | Path) -> list[str]:
    """Return the command for a process of its own, which a test interrupts or looks at from outside."""
    return [sys.executable, "-m", "serve_app.cli", "collect", *map(str, arguments)]


def collect(*arguments: str | Path) -> Result:
    return cascade("collect", *arguments)
