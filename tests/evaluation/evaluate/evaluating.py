"""Evaluations as the tests ask for them, and parts of their results."""

from pathlib import Path
from typing import Any

from serve_app.core.types.answer import Generation
from serve_app.evaluation.analysis.dataset import Dataset
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.evaluate.results import Evaluation
from serve_app.evaluation.records.file import Records

FEW = {"resamples": 100}


def load(path: Path, **options: Any) -> Dataset:
    return load_dataset(Records.load(path), Options(**({"signals": ("rougeL", "exact")} | FEW | options)))


def only(body: Evaluation | dict[str, Any]) -> dict[str, Any]:
    body = body.to_json() if isinstance(body, Evaluation) else body
    [group] = body["groups"]
    [cascade] = group["cascades"]
    result: dict[str, Any] = cascade
    return result


def row(body: Evaluation | dict[str, Any], **fields: Any) -> dict[str, Any]:
    [match] = [row for row in only(body)["rows"] if all(row[key] == value for key, value in fields.items())]
    return dict(match)


def generation(text: str) -> Generation:
    return Generation(text, "stop", 1, 1)
