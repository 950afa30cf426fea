"""The remedies as a table."""

from collections.abc import Mapping

from serve_app.evaluation.analysis.costs import Unit
from serve_app.evaluation.evaluate.remedies.results import Remedies, RemedyResult
from serve_app.evaluation.evaluate.words import UNIT_NAMES, number, percent
from serve_app.terminal.table import Table

SHOWN: tuple[Unit, ...] = ("usd", "flops", "device_s")
"""Costs are shown in the first unit that is known of all models."""


def remedies_table(remedies: Remedies) -> Table:
    """Return a row for each way to serve the cascade, behind the target alone."""
    alone = remedies.target_alone
    unit = next((unit for unit in SHOWN if alone.cost[unit] and all(row.cost[unit] for row in remedies.rows)), None)
    in_unit = "" if unit is None else f" ({UNIT_NAMES[unit]} / target's)"
    header = (
        *("served", "mean s", "p50 s", "p95 s", "p95 s deferred", "to target", "quality", "other answers"),
        *(f"cost{in_unit}", f"waste{in_unit}", "target tokens wasted"),
    )
    note = f"{remedies.requests} test examples as requests, one after another"
    note += f", after {remedies.warm_up} fit examples for speculation to learn from. " if remedies.warm_up else ". "
    note += "Models take the seconds that were recorded, comparisons those that they took here; no request waits for "
    note += "another, and there is no network. p95 s deferred: of the requests that get to the target without "
    note += "remedies. other answers: requests that get another model's answer than without remedies. waste: calls "
    note += "that were made ahead and not needed, part of the cost; tokens of stopped calls are estimated, as a server "
    note += "does. " + " ".join(remedies.notes)
    rows = tuple(_cells(row, alone, unit) for row in (alone, *remedies.rows))
    return Table("Remedies", header, rows, note=note.strip(), optional=(10, 2, 6, 5))


def _cells(row: RemedyResult, alone: RemedyResult, unit: Unit | None) -> tuple[str, ...]:
    late = "" if row.deferred_p95_s is None else f"{row.deferred_p95_s:.3g}"
    seconds = (f"{row.mean_s:.3g}", f"{row.p50_s:.3g}", f"{row.p95_s:.3g}", late)
    rate, changes = ("", "") if row is alone else (percent(row.to_target), str(row.changed))
    costs = (_share(cost, alone, unit) for cost in (row.cost, row.wasted))
    return (row.name, *seconds, rate, number(row.quality), changes, *costs, percent(row.wasted_target_tokens))


def _share(cost: Mapping[Unit, float | None], alone: RemedyResult, unit: Unit | None) -> str:
    whole = None if unit is None else alone.cost[unit]
    part = None if unit is None else cost[unit]
    return "unknown" if whole is None or part is None else f"{part / whole:.1%}"
