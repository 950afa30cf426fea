"""The table of a cascade's operating points."""

from collections.abc import Sequence

from serve_app.evaluation.evaluate.operating.points import OperatingPoint
from serve_app.evaluation.evaluate.words import UNIT_NAMES, interval, number, percent, percentage, points, signed
from serve_app.terminal.table import Table


def operating_table(rows: Sequence[OperatingPoint], brief: bool) -> Table:
    """Return what a cascade does under pressure and while its scorer is away, beside what it usually does."""
    units = list(rows[0].cost)[: 1 if brief else None]
    lines = [
        (
            row.name,
            ", ".join(signal or "none" for signal in row.signals),
            ", ".join("any answer" if value is None else number(value) for value in row.thresholds),
            percent(row.passed_on[0].estimate),
            percentage(row.passed_on[-1]),
            interval(row.quality),
            signed(row.less_usual),
            *(cell for unit in units for cell in (percentage(row.cost[unit]), points(row.cost_less_usual[unit]))),
        )
        for row in rows
    ]
    costs = [name for unit in units for name in (f"cost ({UNIT_NAMES[unit]} / target's)", "less usual")]
    header = ("policy", "signal", "threshold", "first tier defers", "to the target", "quality", "less usual", *costs)
    note = "Decided by the serving code. shed: under pressure (config's shed); scorer away: by on_scorer_failure. "
    note += "Calibrate the thresholds on other records than those that you report."
    return Table("Operating points", header, tuple(lines), note=note, words=frozenset({0, 1}), optional=(3, 6))
