"""What came of a run: a table by fault, and everything as JSON."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from loadtests.chaos.judge import Window
from loadtests.chaos.load import Sent

BAD = ("refused", "error", "cut", "unreachable", "late", "malformed")
SHARES = ("answered", *BAD)
COLUMNS = ("fault", "times", "requests", "answered", "refused", "error", "cut", "unreachable", "p95 s", "failing for s")


def rows(sent: Sequence[Sent], windows: Sequence[Window]) -> list[dict[str, Any]]:
    """Return a row for each fault, one for requests that met none, and one for all. Clients that left count nowhere.

    A request counts for the last fault that had begun before it ended.
    """
    stayed = [item for item in sent if item.end != "left"]
    met: dict[Window | None, list[Sent]] = {window: [] for window in (*windows, None)}
    for item in stayed:
        begun = (window for window in windows if window.touches(item))
        met[max(begun, key=lambda window: window.from_s, default=None)].append(item)
    result = []
    for name in sorted({window.name for window in windows}):
        own = [window for window in windows if window.name == name]
        row = _row(name, len(own), [item for window in own for item in met[window]])
        result.append(row | {"failing for s": max(failing_s(met[window]) for window in own)})
    return [*result, _row("no fault", 0, met[None]), _row("all", len(windows), stayed)]


def _row(name: str, times: int, sent: Sequence[Sent]) -> dict[str, Any]:
    ends = Counter(item.end for item in sent)
    seconds = [item.seconds for item in sent if item.end == "answered"]
    p95 = statistics.quantiles(seconds, n=20)[18] if len(seconds) > 1 else None
    shares = {end: ends[end] / len(sent) if sent else 0.0 for end in SHARES}
    return {"fault": name, "times": times, "requests": len(sent)} | shares | {"p95 s": p95}


def failing_s(sent: Sequence[Sent]) -> float:
    """Return the seconds between the first and the last end of a request that was not answered."""
    failed = [item.at_s + item.seconds for item in sent if item.end in BAD]
    return max(failed) - min(failed) if failed else 0.0


def gap_s(sent: Sequence[Sent]) -> float:
    """Return the longest time without an answer, in seconds: from the end of one to the end of the next."""
    ends = sorted(item.at_s + item.seconds for item in sent if item.end == "answered")
    return max((after - before for before, after in pairwise(ends)), default=0.0)


def markdown(table: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table for docs/operating.md."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| " + " | ".join("---" for _ in COLUMNS) + " |"]
    return "\n".join(
        [*lines, *("| " + " | ".join(_cell(name, row.get(name)) for name in COLUMNS) + " |" for row in table)]
    )


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name in SHARES:
        return f"{100 * value:.1f}%" if value else "0"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def report_json(sent: Sequence[Sent], windows: Sequence[Window], **facts: Any) -> dict[str, Any]:
    """Return everything, for JSON."""
    return {
        **facts,
        "table": rows(sent, windows),
        "faults": [asdict(window) for window in windows],
        "requests": [asdict(item) for item in sent],
    }
