"""One run of `cascade calibrate`: from records to thresholds, a file to deploy, and sentences about both."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serve_app.evaluation.analysis.costs import LATENCIES, UNITS
from serve_app.evaluation.analysis.dataset import CHOOSE
from serve_app.evaluation.analysis.fitting import fitted, with_signals
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.calibrate import config_file as deployable
from serve_app.evaluation.calibrate.calibrate import CalibrationResult, calibrate
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.records.file import Records
from serve_app.signals import AnySignalConfig


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationRun:
    """What came of it. `user_config` is the router's; `fitted` the signals that were measured, by name."""

    calibrated: CalibrationResult
    user_config: Body
    fitted: dict[str, AnySignalConfig]
    output: Path | None
    latency: bool
    """whether the goal is about latencies."""

    def body(self) -> Body:
        """For machines."""
        [note] = self.user_config["calibrations"].values()
        return {
            "id": note["id"],
            **self.calibrated.body(),
            "problem": self.calibrated.problem,
            **self.calibrated.report,
            "signals": {name: signal.model_dump(mode="json") for name, signal in self.fitted.items()},
            "user_config": self.user_config,
        }

    def sentences(self) -> Iterator[str]:
        """For people."""
        report, [note] = self.calibrated.report, self.user_config["calibrations"].values()
        parts, test = report["examples"], report["on_test"]
        thresholds = ", ".join(f"{threshold:.6g}" for threshold in self.calibrated.thresholds)
        several = "s" if len(self.calibrated.thresholds) > 1 else ""
        yield f"{report['cascade']}: {_judges(report)}"
        yield f"Goal: {report['wish']}."
        yield f"Threshold{several}: {thresholds}, found on {parts['calibrate']} examples."
        yield f"On {parts['test']} others {_deferred(test)}{_costs(test['cost_share'])}."
        if self.latency:
            yield LATENCIES
        if "quality" in test:
            yield (
                f"Their quality ({test['metric']}): {_number(test['quality'])}, "
                f"the target's {_number(test['target_quality'])}, the difference {_number(test['less_target'])}."
            )
        if guarantee := report.get("guarantee"):
            what = (
                "disagreement with the target, which may itself be wrong"
                if (guarantee["bounds"] == "disagreement")
                else "loss of quality against the target"
            )
            yield (
                f"Bounded is the {what}; its mean was {guarantee['mean_loss_when_calibrated']:.4f}, and "
                f"thresholds tested: {guarantee['thresholds_tested']}."
            )
            yield "A signal picked from cascade evaluate's tables of these records needs fresh ones for it to hold."
        yield f"Calibration {note['id']}."
        if self.output is not None:
            yield f"serve deploy {self.output}"


def run(
    records: Records, options: Options, goal: Goal, *, fit: bool, config: Path | None, output: Path | None
) -> CalibrationRun:
    """Raises DataError, ConfigError and SignalError. A goal that cannot be met writes no file."""
    if output is not None:
        deployable.check_place(output)
    dataset = load_dataset(records, replace(options, references_required=goal.labelled))
    signals: dict[str, AnySignalConfig] = {}
    if fit:
        choose, *_ = dataset.parts(np.arange(len(dataset)), CHOOSE)
        signals = fitted(dataset, choose)
        dataset = with_signals(dataset, signals)
    calibrated = calibrate(dataset, goal)
    user_config = deployable.settings(calibrated, dataset.source)
    written = output if calibrated.problem is None else None
    done = CalibrationRun(
        calibrated, user_config, signals, written, goal.budget is not None and goal.unit == "latency_s"
    )
    if written is not None:
        recorded: dict[str, Any] = dict(records.header.config["args"])
        [cascade] = dataset.config.cascades.values()
        judges = [tier.signal for tier in cascade.tiers[:-1]]
        deployable.write(written, user_config, recorded, judges=judges, signals=signals, config=config)
    return done


def _judges(report: Body) -> str:
    tiers = report.get("tiers") or [
        {"models": report["models"][:-1], "signal": report["signal"]},
        {"models": report["models"][-1:]},
    ]
    *members, target = [" + ".join(tier["models"]) for tier in tiers]
    return " -> ".join(
        [*(f"{tier['signal']} over {names}" for tier, names in zip(tiers, members, strict=False)), target]
    )


def _deferred(test: Body) -> str:
    if "passed_on" not in test:
        return f"it defers {_share(test['deferral_rate'])}"
    shares = [f"{_share(share)} beyond tier {number}" for number, share in enumerate(test["passed_on"], start=1)]
    return f"it passes on {' and '.join(shares)}"


def _share(values: list[float]) -> str:
    return f"{values[0]:.1%} [{values[1]:.1%}, {values[2]:.1%}]"


def _number(values: list[float]) -> str:
    return f"{values[0]:.4f} [{values[1]:.4f}, {values[2]:.4f}]"


def _costs(shares: dict[str, float]) -> str:
    named = ", ".join(f"{shares[unit]:.0%} in {unit}" for unit in UNITS if unit in shares)
    return f" and costs, against the target alone, {named}" if named else ""
