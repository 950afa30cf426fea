"""Calibrations as the tests ask for them."""

from pathlib import Path
from typing import Any

from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.calibrate.command import CalibrationRun, run
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.records.file import Records

OPTIONS: dict[str, Any] = {"cascades": ("default",), "signals": (), "resamples": 100}


def calibrate(
    path: Path, goal: Goal, *, fit: bool = False, output: Path | None = None, **options: Any
) -> CalibrationRun:
    own = {name: options.pop(name) for name in ("chosen", "fit_records") if name in options}
    config, options = options.pop("config", None), OPTIONS | options
    return run(Records.load(path), Options(**options), goal, fit=fit, config=config, output=output, **own)
