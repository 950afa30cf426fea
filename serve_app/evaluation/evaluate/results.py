"""What `cascade evaluate` finds: frozen results, whose `to_json` is what users get with --json and in report.json.

Numbers are floats in full precision; an `Interval` is a 95% interval of a paired bootstrap over the test examples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from serve_app.evaluation.analysis.candidates import Kind
from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.analysis.dataset import Source
from serve_app.evaluation.analysis.json_values import Body, Result, plain
from serve_app.evaluation.evaluate.fronts import ParetoFront
from serve_app.evaluation.evaluate.operating.points import OperatingPoint
from serve_app.evaluation.evaluate.remedies.results import Remedies
from serve_app.evaluation.evaluate.shown_results import Extremes
from serve_app.evaluation.evaluate.skips import SkipResult
from serve_app.evaluation.evaluate.worth import WorthResult
from serve_app.evaluation.statistics.bootstrap import Interval
from serve_app.evaluation.statistics.curves import AtBudget
from serve_app.evaluation.statistics.margin import Verdict


@dataclass(frozen=True, slots=True)
class ModelResult(Result):
    """A model alone: mean quality by metric and mean cost by unit (None: unknown) on the test examples.

    `worse`: the share of examples on which its quality is below the target's, with an exact interval.
    """

    quality: Mapping[str, float]
    worse: Interval | None
    cost: Mapping[Unit, float | None]
    failed: int
    """How many test examples it failed on."""


@dataclass(frozen=True, slots=True)
class MemberBaselines(Result):
    """One member alone against the target: `random` and `oracle` are areas of deferring its answers."""

    quality: Interval
    less_target: Interval
    random: Interval
    oracle: Interval


@dataclass(frozen=True, slots=True)
class Baselines(Result):
    """The target's quality, the area of the oracle over all members, and each member's own baselines.

    `best_member`: by its quality on the fit examples.
    """

    best_member: str
    target: Interval
    oracle: Interval
    members: Mapping[str, MemberBaselines]


@dataclass(frozen=True, slots=True)
class RowName(Result):
    """What tells a row from the others: how answers are scored, and which is returned."""

    kind: Kind
    signal: str
    """With its quantile, as in chow_quantile(0.3)."""
    models: tuple[str, ...]
    agreement: str
    selection: str
    """The fixed member whose answer is returned, or "selected"."""
    maximum: bool
    """Whether it is the best of all quantiles on the test examples themselves (the paper's maximum)."""


@dataclass(frozen=True, slots=True)
class OtherMetric(Result):
    """The area by another metric, and how far it is above random deferral's with the same answers."""

    auc: float
    over_random: float


@dataclass(frozen=True, slots=True)
class Budgets(Result):
    """What shares of the target's mean cost buy; `floor` is the least share that a threshold can cost."""

    target: float
    floor: float
    bought: Mapping[float, AtBudget | None]


@dataclass(frozen=True, slots=True)
class CheapestResult(Result):
    """The cheapest threshold within the margin: chosen on the fit examples, reported on the test examples.

    `accepted`: how many test examples keep the tier's answer; `verdict`: what the test of the margin comes to.
    """

    threshold: float
    margin: float
    unit: Unit
    cost: float
    """As a share of the target's."""
    rate: float
    quality: float
    less_target: Interval
    accepted: int
    p_value: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class AcceptedResult(Result):
    """What the threshold accepts and defers whose deferral rate on the test examples is nearest to a given one.

    `worse`: agreed and wrong, the share of accepted answers below the target's quality, with its exact interval, None
    if nothing is accepted; `mean_loss`: of all accepted answers; `gain`: the target's quality less that of the answers
    that it replaces, None if nothing is deferred.
    """

    threshold: float
    rate: float
    worse: Interval | None
    mean_loss: float
    gain: Interval | None


@dataclass(frozen=True, slots=True)
class CurvePoints(Result):
    """Points for plots. A threshold of NaN: no threshold leads there. `costs`: by unit, as shares of the target's.

    `quality_low` and `quality_high`: 95% intervals of each point's quality, if it is the same share that is deferred.
    """

    rate: tuple[float, ...]
    quality: tuple[float, ...]
    quality_low: tuple[float, ...]
    quality_high: tuple[float, ...]
    threshold: tuple[float, ...]
    costs: Mapping[Unit, tuple[float, ...]]

    def to_json(self) -> Body:
        """Return the columns by name, those of costs by unit."""
        columns = {"rate": self.rate, "quality": self.quality}
        band = {"quality_low": self.quality_low, "quality_high": self.quality_high}
        return {**plain(columns), **plain(band), "threshold": plain(self.threshold), **plain(self.costs)}


@dataclass(frozen=True, slots=True)
class RowResult(Result):
    """One way to score a cascade's answers, with everything that is reported of it."""

    name: RowName
    fit_auc: float
    """The area on the fit examples, by which a row may be chosen without a look at the others."""
    auc: Interval
    random: Interval
    over_random: Interval
    by_selection: Interval
    over_random_best: Interval
    over_best_chow: Interval | None
    partial_oracle: Interval | None
    selected_quality: float
    shares: Mapping[str, float]
    """How often each member's answer was selected."""
    other_metrics: Mapping[str, OtherMetric]
    apgr: float
    """Average performance gap recovered, of the gap between the best member alone and the target; NaN without one."""
    cpt: Mapping[float, float]
    """The least deferral rate that recovers a share of that gap."""
    at: Mapping[Unit, Budgets]
    accepted: Mapping[float, AcceptedResult]
    """By deferral rate."""
    if_independent: float | None
    """The share of agreed answers below the target's if the members erred independently; None if none are compared."""
    cheapest: CheapestResult | None
    curve: CurvePoints
    flags: tuple[str, ...]
    signature: str

    def to_json(self) -> Body:
        """Return the name's fields, then the row's own."""
        body = Result.to_json(self)
        return {**body.pop("name"), **body}


@dataclass(frozen=True, slots=True)
class Comparison(Result):
    """The first of the rows to compare less another one, paired by example.

    `p`: two-sided, by paired bootstrap. `p_holm`: adjusted by Holm for all comparisons of the same cascade and group.
    """

    row: str
    less: str
    difference: Interval
    p: float
    p_holm: float


@dataclass(frozen=True, slots=True)
class Curves(Result):
    """A cascade of one tier before its target: every way to score the tier's answers."""

    notes: tuple[str, ...]
    """What the records lack, in sentences."""
    baselines: Baselines
    best_chow: RowName | None
    rows: tuple[RowResult, ...]
    comparisons: tuple[Comparison, ...]
    looked_at: Extremes | None


@dataclass(frozen=True, slots=True)
class CascadeResult(Result):
    """One cascade on one group of examples; `remedies` and `worth` are absent unless they were asked for.

    `operating_points`: of a cascade with `shed` or `on_scorer_failure`.
    """

    id: str
    tiers: tuple[tuple[str, ...], ...]
    target: str
    metric: str
    models: Mapping[str, ModelResult]
    flags: tuple[str, ...]
    detail: Curves | ParetoFront
    remedies: Remedies | None = None
    worth: tuple[WorthResult, ...] = ()
    skip: SkipResult | None = None
    operating_points: tuple[OperatingPoint, ...] = ()

    @property
    def curves(self) -> Curves | None:
        """Return the curves of a cascade of two tiers, else None."""
        return self.detail if isinstance(self.detail, Curves) else None

    def to_json(self) -> Body:
        """Return the fields by name, with those of the curves beside them, or the Pareto front as `front`."""
        body = Result.to_json(self)
        detail = body.pop("detail")
        for name in ("remedies", "worth", "skip", "operating_points"):
            if not getattr(self, name):
                del body[name]
        return body | (detail if isinstance(self.detail, Curves) else {"front": detail})


@dataclass(frozen=True, slots=True)
class GroupResult(Result):
    """All cascades on one data set, or on all; `problem` says why there are none."""

    name: str
    metrics: tuple[str, ...]
    fit: int
    test: int
    cascades: tuple[CascadeResult, ...]
    problem: str | None


@dataclass(frozen=True, slots=True)
class Evaluation(Result):
    """Everything that the records say of each cascade."""

    source: Source
    margin: float
    groups: tuple[GroupResult, ...]

    def to_json(self) -> Body:
        """Return the fields by name, as --json prints them."""
        return {"source": self.source.to_json(), "margin": self.margin, "groups": plain(self.groups)}
