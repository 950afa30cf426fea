"""What `cascade calibrate` finds: frozen results, whose `to_json` is what users get with --json and in a config."""

from collections.abc import Mapping
from dataclasses import dataclass

from serve_app.core.deciding.exchange import ExchangePoint
from serve_app.core.deciding.histogram import Histogram
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.json_values import Body, Result, plain
from serve_app.evaluation.statistics.bootstrap import Interval
from serve_app.evaluation.statistics.risk import Bounds


@dataclass(frozen=True, slots=True)
class ScoredTier(Result):
    """A tier but the target: its members, and the signal that scores them."""

    models: tuple[str, ...]
    signal: str | None


@dataclass(frozen=True, slots=True)
class PartSizes(Result):
    """How many examples each disjoint part has."""

    choose: int
    calibrate: int
    test: int


@dataclass(frozen=True, slots=True)
class Guarantee(Result):
    """A risk bound: what it is about, and how it was reached. `records_needed`: for the whole of a records file."""

    bounds: Bounds
    alpha: float
    delta: float
    mean_loss_when_calibrated: float
    thresholds_tested: int
    examples_needed: int | None
    records_needed: int | None


@dataclass(frozen=True, slots=True)
class QualityResult(Result):
    """Quality on the test examples. `quality_loss`: the mean of max(0, Q_target - Q_cascade)."""

    metric: str
    quality: Interval
    target_quality: Interval
    less_target: Interval
    quality_loss: float


@dataclass(frozen=True, slots=True)
class OnTest(Result):
    """What the thresholds do on examples that had no part in them.

    `passed_on`: the share of all requests beyond each tier, with Clopper-Pearson intervals; `cost_share`: mean cost as
    a share of the target's; `quality` is None if some examples have no references.
    """

    passed_on: tuple[Interval, ...]
    cost_share: Mapping[Unit, float]
    quality: QualityResult | None

    def to_json(self) -> Body:
        """Return the deferral rate, the shares of several tiers, costs and quality, beside each other."""
        several = {"passed_on": plain(self.passed_on)} if len(self.passed_on) > 1 else {}
        quality = {} if self.quality is None else self.quality.to_json()
        rate = {"deferral_rate": plain(self.passed_on[0])}
        return rate | several | {"cost_share": plain(self.cost_share)} | quality


@dataclass(frozen=True, slots=True)
class CalibrationReport(Result):
    """Everything about a calibration but the thresholds themselves.

    `quality_when_calibrated`: of a quality goal that was not tested.
    """

    cascade: str
    tiers: tuple[ScoredTier, ...]
    target: str
    goal: str
    met: bool
    examples: PartSizes
    deferral_rate_when_calibrated: Interval
    quality_when_calibrated: Interval | None
    guarantee: Guarantee | None
    on_test: OnTest

    def to_json(self) -> Body:
        """Return the fields by name; a single tier as `signal` and `models`, several as `tiers`; and the goal."""
        guarantee = {} if self.guarantee is None else {"guarantee": self.guarantee.to_json()}
        quality = self.quality_when_calibrated
        quality_fields = {} if quality is None else {"quality_when_calibrated": plain(quality)}
        return {
            "cascade": self.cascade,
            **self._tiers(),
            "goal": self.goal,
            "met": self.met,
            "examples": self.examples.to_json(),
            "deferral_rate_when_calibrated": plain(self.deferral_rate_when_calibrated),
            **quality_fields,
            **guarantee,
            "on_test": self.on_test.to_json(),
        }

    def _tiers(self) -> Body:
        if len(self.tiers) == 1:
            return {"signal": self.tiers[0].signal, "models": [*self.tiers[0].models, self.target]}
        return {"tiers": [*plain(self.tiers), {"models": [self.target]}]}


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """Thresholds that a config can hold, one for each tier but the target, and what they do on the test examples.

    `problem`: a sentence for the user if the goal is not met, else None. `exchange`: what quality costs on the
    examples that the thresholds came from, whatever the goal; empty if dollars or references are unknown.
    `agreements`: how the first tier's agreement is spread over the same examples, without those that had none.
    """

    thresholds: tuple[float, ...]
    problem: str | None
    report: CalibrationReport
    agreements: Histogram
    exchange: tuple[ExchangePoint, ...] = ()

    def to_json(self) -> Body:
        """Return the thresholds: `threshold` of a single tier, else `thresholds`. They are not rounded."""
        if len(self.thresholds) == 1:
            return {"threshold": self.thresholds[0]}
        return {"thresholds": list(self.thresholds)}
