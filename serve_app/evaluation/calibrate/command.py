"""One run of `cascade calibrate`: from records to thresholds, a file to deploy, and sentences about both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from shlex import quote

import numpy as np

from serve_app.errors import UsageError
from serve_app.evaluation.analysis.costs import LATENCIES
from serve_app.evaluation.analysis.dataset import CHOOSE, Dataset
from serve_app.evaluation.analysis.fitting import fitted, with_signals
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.analysis.load import load_dataset
from serve_app.evaluation.analysis.options import Options
from serve_app.evaluation.calibrate import config_file
from serve_app.evaluation.calibrate.alternatives import (
    SHED,
    STAND_IN,
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
            yield f"Put it into force: RAY_AUTH_MODE=token serve deploy {quote(str(self.output))}"

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
    reported on, so that all of `records` calibrate. `shed`: the goal's values under pressure. Raises UsageError,
    DataError, ConfigError and SignalError.
    """
    if output is not None:
        config_file.check_writable(output)
    if chosen and fit_records is not None:
        raise UsageError(
            "--chosen keeps a part of the records from calibrating, with --fit-records all of them do: leave out one."
        )
    relaxed = goal.relaxed(shed) if shed else None
    separate = fit_records is not None
    dataset = _dataset(records, replace(options, references_required=goal.labelled), fit_records)
    signals = _fitted_signals(dataset) if fit else {}
    if fit:
        dataset = with_signals(dataset, signals)
    set_aside = fit or chosen or separate or options.tier_signals is not None
    calibrate_for = partial(calibrate, dataset, set_aside=set_aside, all_tune=separate)
    calibrated = calibrate_for(goal)
    alternatives: dict[str, CalibrationResult] = {}
    if options.stand_in is not None:
        alternatives[STAND_IN] = calibrate_for(goal, stand_in=True)
    if relaxed is not None:
        alternatives[SHED] = calibrate_for(relaxed)
        check_shed(calibrated, alternatives[SHED])
    calibrated = with_problems(calibrated, alternatives)
    result = CalibrationRun(
        config_file.identity(calibrated, dataset.source, alternatives),
        calibrated,
        config_file.settings(calibrated, dataset.source, alternatives),
        signals,
        output if calibrated.problem is None else None,
        goal.budget is not None and goal.unit == "latency_s",
        alternatives,
    )
    result = replace(result, warnings=_warnings(result, records, config))
    _write(result, records, config)
    return result


def _dataset(records: Records, options: Options, fit_records: Path | None) -> Dataset:
    """Return the examples to calibrate on, with those of another file to fit and report on, if there is one."""
    if fit_records is None:
        return load_dataset(records, options)
    assert options.cascades is not None
    all_records, ids = joined(records, fit_records, options.cascades[0])
    return apart(load_dataset(all_records, options), ids)


def _fitted_signals(dataset: Dataset) -> dict[str, AnySignalConfig]:
    """Return the signals that are fitted on the part for choosing, by name."""
    choose, *_ = dataset.parts(np.arange(len(dataset)), CHOOSE)
    return fitted(dataset, choose)


def _warnings(result: CalibrationRun, records: Records, config: Path | None) -> tuple[str, ...]:
    """Return sentences about the cascade in the config to serve, if it has that cascade."""
    cascades = config_file.served_config(dict(records.header.config.args), config).cascades
    id_ = result.calibrated.report.cascade
    if id_ not in cascades:
        return ()
    return tuple(warnings(id_, cascades[id_], result.alternatives, written=result.output is not None))


def _write(result: CalibrationRun, records: Records, config: Path | None) -> None:
    """Write the file to deploy, if there is to be one."""
    if result.output is not None:
        config_file.write(
            result.output,
            result.user_config,
            dict(records.header.config.args),
            tier_signals=[tier.signal for tier in result.calibrated.report.tiers],
            signals=result.fitted,
            config=config,
            stand_in=stand_in_of(result.alternatives),
        )


def _tiers(report: CalibrationReport) -> str:
    members = [f"{tier.signal} over {' + '.join(tier.models)}" for tier in report.tiers]
    return " -> ".join([*members, report.target])


def _tested(guarantee: Guarantee) -> str:
    mean = f"its mean was {guarantee.mean_loss_when_calibrated:.4f}"
    return f"{mean}, and thresholds tested: {guarantee.thresholds_tested}."
