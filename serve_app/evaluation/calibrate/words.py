"""Numbers of a calibration in sentences."""

from collections.abc import Sequence

from serve_app.evaluation.analysis.costs import UNITS
from serve_app.evaluation.analysis.replay import EVERYTHING
from serve_app.evaluation.calibrate.results import OnTest
from serve_app.evaluation.statistics.bootstrap import Interval


def in_words(thresholds: Sequence[float]) -> str:
    """Return the tiers' thresholds; one beyond every score is described by its effect."""
    extremes = {-EVERYTHING: "accept every answer", EVERYTHING: "defer every request"}
    return ", ".join(extremes.get(threshold, f"{threshold:.6g}") for threshold in thresholds)


def deferred(test: OnTest) -> str:
    """Return which share of the test examples is deferred, or is passed on beyond each of several tiers."""
    if len(test.passed_on) == 1:
        return f"it defers {share(test.passed_on[0])}"
    shares = [f"{share(values)} beyond tier {number}" for number, values in enumerate(test.passed_on, start=1)]
    return f"it passes on {' and '.join(shares)}"


def share(values: Interval) -> str:
    """Return a share and its interval, in percent."""
    return f"{values.estimate:.1%} [{values.low:.1%}, {values.high:.1%}]"


def costs(test: OnTest) -> str:
    """Return the end of a sentence about costs, nothing if none is known."""
    shares = ", ".join(f"{test.cost_share[unit]:.0%} in {unit}" for unit in UNITS if unit in test.cost_share)
    return f" and costs, against the target alone, {shares}" if shares else ""
