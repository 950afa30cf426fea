"""One run of `cascade calibrate`: from records to thresholds, a file to deploy, and sentences about both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from serve_app.errors import DataError
from serve_app.evaluation.analysis.costs import LATENCIES
from serve_app.evaluation.analysis.dataset import CHOOSE
from serve_app.evaluation.analysis.fitting import fitted, with_signals
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.calibrate import config_file
from serve_app.evaluation.calibrate.alternatives import (
    alternative_json,
    alternative_sentences,
    check_shed,
    stand_in_of,
    with_problems,
)
from serve_app.evaluation.calibrate.calibrate import calibrate
from serve_app.evaluation.calibrate.fit_records import apart, joined
from serve_app.evaluation.calibrate.goal import Goal
from serve_app.evaluation.calibrate.results import CalibrationReport, CalibrationResult, Guarantee
from serve_app.evaluation.calibrate.warnings import warnings
from serve_app.evaluation.calibrate.words import costs, deferred, in_words
from serve_app.evaluation.records.file import Records
from serve_app.evaluation.statistics.risk import Bounds
from serve_app.signals import AnySignalConfig

BOUNDED: dict[Bounds, str] = {
    "disagreement": "disagreement with the target, which may itself be wrong",
    "quality_loss": "loss of quality against the target",
    "quality_difference": "target's quality less the cascade's, where gains make up for losses",
    "error": "mean quality from below, by the error, 1 - quality",
}


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationRun:
    """Result of a calibration run.

    `user_config` is the router's; `fitted` the signals that were measured, by name; `output` the file that was written,
    or None; `latency`: whether the goal is about latencies. `alternatives`: the same for other circumstances, by name:
    `stand_in`, while the scorer fails, and `shed`, under pressure. `warnings`: sentences about the config to serve.
    """

    id: str
    calibrated: CalibrationResult
    user_config: Body
    fitted: dict[str, AnySignalConfig]
    output: Path | None
    latency: bool
    alternatives: Mapping[str, CalibrationResult] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> Body:
        """Return the JSON body."""
        return {
            "id": self.id,
            **self.calibrated.to_json(),
            "problem": self.calibrated.problem,
            **{name: alternative_json(alternative) for name, alternative in self.alternatives.items()},
            **self.calibrated.report.to_json(),
            "signals": {name: signal.model_dump(mode="json") for name, signal in self.fitted.items()},
            "user_config": self.user_config,
            "warnings": list(self.warnings),
        }

    def sentences(self) -> Iterator[str]:
        """Yield lines for the terminal; if a goal is not met, only what is nearest to each."""
        report = self.calibrated.report
        several = "s" if len(self.calibrated.thresholds) > 1 else ""
        yield f"{report.cascade}: {_tiers(report)}"
        yield f"Goal: {report.goal}."
        thresholds = in_words(self.calibrated.thresholds)
        if self.calibrated.problem is not None:
            nearest = f"This goal is met at {thresholds}" if report.met else f"The nearest: {thresholds}"
            yield f"Nothing was written. {nearest}."
            yield from self._on_test()
            yield from self._alternatives()
            return
        yield f"Threshold{several}: {thresholds}, found on {report.examples.calibrate} examples."
        if (quality := report.quality_when_calibrated) is not None:
            yield (
                f"Their mean quality is {quality.text()}: a mean on the very examples that the threshold{several} "
                "came from, not a guarantee. --delta 0.1 tests the goal."
            )
        yield from self._on_test()
        if guarantee := report.guarantee:
            yield f"Bounded is the {BOUNDED[guarantee.bounds]}; {_tested(guarantee)}"
            yield "A signal picked from cascade evaluate's tables of these records needs fresh ones for it to hold."
            if not report.examples.choose:
                yield "If cascade choose picked the cascade on these records, calibrate it with --chosen."
        if points := self.calibrated.exchange:
            first, last = points[0], points[-1]
            yield (
                f"Exchange rate, for willingness_to_pay_usd: {len(points)} choices of thresholds, in the mean from "
                f"{first.quality:.4f} for {first.usd:.3g} US dollars to {last.quality:.4f} for {last.usd:.3g}."
            )
        yield from self._alternatives()
        for warning in self.warnings:
            yield f"warning: {warning}"
        yield f"Calibration {self.id}."
        if self.output is not None:
            yield f"Put it into force: RAY_AUTH_MODE=token serve deploy {self.output}"

    def _alternatives(self) -> Iterator[str]:
        for name, alternative in self.alternatives.items():
            yield from alternative_sentences(name, alternative)

    def _on_test(self) -> Iterator[str]:
        """Yield what the thresholds do on other examples."""
        report, test = self.calibrated.report, self.calibrated.report.on_test
        yield f"On {report.examples.test} others {deferred(test)}{costs(test)}."
        if self.latency:
            yield LATENCIES
        if any(unit in test.cost_share for unit in config_file.MEASURED):
            yield "The scorer's seconds in them were measured here and now; records hold the models' alone."
        if measured := test.quality:
            yield (
                f"Their quality ({measured.metric}): {measured.quality.text()}, "
                f"the target's {measured.target_quality.text()}, the difference {measured.less_target.text()}."
            )


def run(
    records: Records,
    options: Options,
    goal: Goal,
    *,
    fit: bool,
    config: Path | None,
    output: Path | None,
    chosen: bool = False,
    fit_records: Path | None = None,
    shed: Sequence[float] = (),
) -> CalibrationRun:
    """Calibrate, and write the file to deploy if the goal is met and `output` is set.

    `chosen`: `cascade choose` picked the cascade on these records, so the part that it looked at must not calibrate.
    A signal in place of the recorded one counts as chosen, too. `fit_records`: a file whose examples are fitted on and
    reported on, so that all of `records` calibrate. `shed`: the goal's values under pressure. Raises DataError,
    ConfigError and SignalError.
    """
    if output is not None:
        config_file.check_writable(output)
    if chosen and fit_records is not None:
        raise DataError(
            "--chosen keeps a part of the records from calibrating, with --fit-records all of them do: leave out one."
        )
    relaxed = goal.relaxed(shed) if shed else None
    options = replace(options, references_required=goal.labelled)
    if fit_records is None:
        dataset = load_dataset(records, options)
    else:
        assert options.cascades is not None
        all_records, ids = joined(records, fit_records, options.cascades[0])
        dataset = apart(load_dataset(all_records, options), ids)
    signals: dict[str, AnySignalConfig] = {}
    if fit:
        choose, *_ = dataset.parts(np.arange(len(dataset)), CHOOSE)
        signals = fitted(dataset, choose)
        dataset = with_signals(dataset, signals)
    separate = fit_records is not None
    set_aside = fit or chosen or separate or options.tier_signals is not None
    calibrated = calibrate(dataset, goal, set_aside=set_aside, all_tune=separate)
    alternatives: dict[str, CalibrationResult] = {}
    if options.stand_in is not None:
        alternatives["stand_in"] = calibrate(dataset, goal, set_aside=set_aside, all_tune=separate, stand_in=True)
    if relaxed is not None:
        alternatives["shed"] = calibrate(dataset, relaxed, set_aside=set_aside, all_tune=separate)
        check_shed(calibrated, alternatives["shed"])
    calibrated = with_problems(calibrated, alternatives)
    user_config = config_file.settings(calibrated, dataset.source, alternatives)
    output_file = output if calibrated.problem is None else None
    recorded: dict[str, Any] = dict(records.header.config.args)
    id_, cascades = calibrated.report.cascade, config_file.served_config(recorded, config).cascades
    cautions = [*warnings(id_, cascades[id_], alternatives, written=output_file is not None)] if id_ in cascades else []
    if output_file is not None:
        tier_signals = [tier.signal for tier in calibrated.report.tiers]
        config_file.write(
            output_file,
            user_config,
            recorded,
            tier_signals=tier_signals,
            signals=signals,
            config=config,
            stand_in=stand_in_of(alternatives),
        )
    latency = goal.budget is not None and goal.unit == "latency_s"
    name = config_file.identity(calibrated, dataset.source, alternatives)
    return CalibrationRun(name, calibrated, user_config, signals, output_file, latency, alternatives, tuple(cautions))


def _tiers(report: CalibrationReport) -> str:
    members = [f"{tier.signal} over {' + '.join(tier.models)}" for tier in report.tiers]
    return " -> ".join([*members, report.target])


def _tested(guarantee: Guarantee) -> str:
    mean = f"its mean was {guarantee.mean_loss_when_calibrated:.4f}"
    return f"{mean}, and thresholds tested: {guarantee.thresholds_tested}."
