"""A calibration's alternatives: what the cascade does, for the same kind of goal, in other circumstances."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from serve_app.core.types.policy import StandIn
from serve_app.errors import DataError
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.calibrate.results import CalibrationResult
from serve_app.evaluation.calibrate.words import costs, deferred, in_words

STAND_IN, SHED = "stand_in", "shed"
CIRCUMSTANCES = {STAND_IN: "If the scorer fails", SHED: "Under pressure (shed)"}
OPTIONS = {STAND_IN: "--stand-in", SHED: "--shed"}


def with_problems(calibrated: CalibrationResult, alternatives: Mapping[str, CalibrationResult]) -> CalibrationResult:
    """Return a calibration whose goal counts as missed if one of its alternatives misses its own."""
    problems = [] if calibrated.problem is None else [calibrated.problem]
    problems += [
        f"{OPTIONS[name]}: {alternative.problem}" for name, alternative in alternatives.items() if alternative.problem
    ]
    return replace(calibrated, problem=" ".join(problems) or None)


def check_shed(calibrated: CalibrationResult, shed: CalibrationResult) -> None:
    """Raise DataError if a threshold under pressure is above the usual one, so that it would defer more."""
    for k, (lower, usual) in enumerate(zip(shed.thresholds, calibrated.thresholds, strict=True)):
        if lower > usual:
            raise DataError(
                f"--shed: at tiers[{k}] the goal under pressure leads to the threshold {lower:g}, which is above "
                f"the usual {usual:g}; choose other values, so that no tier defers what it usually accepts."
            )


def stand_in_of(alternatives: Mapping[str, CalibrationResult]) -> StandIn | None:
    """Return the signal that decides if the scorer fails, with its threshold, or None if none was calibrated."""
    if STAND_IN not in alternatives:
        return None
    [tier], [threshold] = alternatives[STAND_IN].report.tiers, alternatives[STAND_IN].thresholds
    assert tier.signal is not None
    return StandIn(tier.signal, threshold)


def alternative_json(alternative: CalibrationResult) -> Body:
    """Return an alternative's part of the JSON body."""
    return {**alternative.to_json(), "problem": alternative.problem, **alternative.report.to_json()}


def alternative_sentences(name: str, alternative: CalibrationResult) -> Iterator[str]:
    """Yield lines for the terminal; of a goal that is not met, what comes nearest to it."""
    report, test = alternative.report, alternative.report.on_test
    signals = " and ".join(dict.fromkeys(tier.signal or "" for tier in report.tiers))
    thresholds, several = in_words(alternative.thresholds), "s" if len(alternative.thresholds) > 1 else ""
    relation, label = (", for", f"Threshold{several}") if report.met else (" and does not meet", "The nearest")
    yield f"{CIRCUMSTANCES[name]}, {signals} decides{relation} the goal: {report.goal}. {label}: {thresholds}."
    quality = "" if test.quality is None else f". Its quality: {test.quality.quality.text()}"
    yield f"Then, on the {report.examples.test} others, {deferred(test)}{costs(test)}{quality}."
