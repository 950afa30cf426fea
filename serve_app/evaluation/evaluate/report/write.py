"""The folder of a report, and its files."""

import json
from importlib.util import find_spec
from pathlib import Path

from serve_app.evaluation.evaluate.report.files import written
from serve_app.evaluation.evaluate.report.images import write_images
from serve_app.evaluation.evaluate.report.markdown import markdown
from serve_app.evaluation.evaluate.report.page import html
from serve_app.evaluation.evaluate.report.spreadsheets import write_csv, write_curves
from serve_app.evaluation.evaluate.results import Evaluation


def make_folder(folder: Path) -> None:
    """Make the report's folder, before anything is computed. Raises DataError if it cannot be made."""
    with written("The report", folder):
        folder.mkdir(parents=True, exist_ok=True)


def write(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write all files into `folder`, and return their paths.

    PNGs are written only if matplotlib is installed. Raises DataError if a file cannot be written.
    """
    make_folder(folder)
    with written("The report", folder):
        return _write(evaluation, folder)


def _write(evaluation: Evaluation, folder: Path) -> list[Path]:
    texts = {
        "report.html": html(evaluation),
        "report.md": markdown(evaluation),
        "report.json": json.dumps(evaluation.to_json(), ensure_ascii=False, indent=1),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", errors="replace")
    write_csv(evaluation, folder / "rows.csv")
    write_curves(evaluation, folder / "curves.csv")
    images = [] if find_spec("matplotlib") is None else list(write_images(evaluation, folder))
    return [folder / name for name in texts] + [folder / "rows.csv", folder / "curves.csv", *images]
