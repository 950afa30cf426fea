"""The lines of a plot: which curves, under which names, and which of them are shown at first."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

from serve_app.evaluation.analysis.candidates import Kind
from serve_app.evaluation.analysis.json_values import Body, number
from serve_app.evaluation.evaluate.results import CascadeResult, CurvePoints, Curves, RowResult
from serve_app.evaluation.evaluate.words import label, random_of

GROUPS: Mapping[Kind, str] = {
    "semantic": "semantic agreement",
    "fixed": "fixed member selected",
    "chow_member": "token-level, one member",
    "chow_ensemble": "token-level, all members",
}
"""What the legend calls each kind of rows."""
BASELINES = "baselines"


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of a plot; `shown`: at first, `dashed`: not the cascade's own policy, `group`: in the legend."""

    label: str
    group: str
    area: float
    dashed: bool
    shown: bool
    points: CurvePoints

    def to_json(self) -> Body:
        fields = {"label": self.label, "group": self.group, "auc": number(self.area)}
        return fields | {"dashed": self.dashed, "shown": self.shown} | self.points.to_json()


def plot(cascade: CascadeResult, curves: Curves) -> Body:
    """Return what the page's script needs of a cascade's rows."""
    target = number(curves.baselines.target.estimate)
    return {"metric": cascade.metric, "target": target, "curves": [line.to_json() for line in lines(curves)]}


def lines(curves: Curves) -> list[Line]:
    """Return a line for each row and one for random deferral; those shown first come first, in colours of their own."""
    row_lines = [_line(row, curves) for row in curves.rows]
    return sorted([*row_lines, _random(curves)], key=lambda line: not line.shown)


def _line(row: RowResult, curves: Curves) -> Line:
    kind, area = row.name.kind, row.auc.estimate
    dashed = kind.startswith("chow")
    return Line(label(row.name), GROUPS[kind], area, dashed=dashed, shown=_shown(row, curves), points=row.curve)


def _shown(row: RowResult, curves: Curves) -> bool:
    """Return whether the row is every signal's in the paper's policy, or the best baseline."""
    return (row.name.kind == "semantic" and row.name.agreement == "max") or row.name == curves.best_chow


def _random(curves: Curves) -> Line:
    """Return random deferral with the best member: a straight line."""
    members = curves.baselines.members
    best = curves.baselines.best_member
    ends = members[best].quality, curves.baselines.target
    points = CurvePoints(
        rate=(0, 1),
        quality=tuple(end.estimate for end in ends),
        quality_low=tuple(end.low for end in ends),
        quality_high=tuple(end.high for end in ends),
        threshold=(nan, nan),
        costs={},
    )
    return Line(random_of(best), BASELINES, members[best].random.estimate, dashed=True, shown=True, points=points)
