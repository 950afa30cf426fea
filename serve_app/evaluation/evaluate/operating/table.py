"""The table of a cascade's operating points."""

from collections.abc import Sequence

from serve_app.evaluation.evaluate.operating.points import AppliedRule, OperatingPoint
from serve_app.evaluation.evaluate.words import UNIT_NAMES, number, percent, percentage, points
from serve_app.terminal.table import Table


def operating_table(rows: Sequence[OperatingPoint], brief: bool) -> Table:
    """Return what a cascade does under pressure and while its scorer is away, beside what it usually does."""
    units = list(rows[0].cost)[: 1 if brief else None]
    lines = [
        (
            row.name,
            ", ".join(" / ".join(map(_signal, rules)) or "none" for rules in row.rules),
            ", ".join(" / ".join(map(_threshold, rules)) or "none" for rules in row.rules),
            percent(row.passed_on[0].estimate),
            percentage(row.passed_on[-1]),
            row.quality.text(),
            row.less_usual.signed_text(),
            *(cell for unit in units for cell in (percentage(row.cost[unit]), points(row.cost_less_usual[unit]))),
        )
        for row in rows
    ]
    costs = [name for unit in units for name in (f"cost ({UNIT_NAMES[unit]} / target's)", "less usual")]
    header = ("policy", "signal", "threshold", "first tier defers", "to the target", "quality", "less usual", *costs)
    note = (
        "Decided by the serving code. shed: under pressure (config's shed); scorer away: short answers by the tier's "
    )
    note += (
        "signal if it is lexical, others by on_scorer_failure; in brackets the share of examples that are so decided. "
    )
    note += "Calibrate the thresholds on other records than those that you report."
    return Table("Operating points", header, tuple(lines), note=note, words=frozenset({0, 1}), optional=(3, 6))


def _signal(rule: AppliedRule) -> str:
    """Return a rule's signal, with the share of the examples that it is for if that is not all."""
    return f"{rule.signal} ({percent(rule.share)})" if rule.share < 1 else str(rule.signal)


def _threshold(rule: AppliedRule) -> str:
    return "any answer" if rule.threshold is None else number(rule.threshold)
