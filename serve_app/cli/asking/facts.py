"""The tokens, the cost and the time of a request."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from serve_app.cli.asking.text import Body
from serve_app.cli.asking.verdicts import asked_alone
from serve_app.core.record import DecisionRecord, Timings

if TYPE_CHECKING:
    from rich.table import Table


def facts(record: DecisionRecord, usage: Body) -> "Table":
    """Return a table of tokens, cost and time."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    tokens = f"{usage['total_tokens']} ({usage['prompt_tokens']} in, {usage['completion_tokens']} out)"
    for name, fact in [("tokens", tokens), *_costs(record), ("time", _times(record.timings))]:
        table.add_row(Text(name, "dim"), Text(fact))
    return table


def _costs(record: DecisionRecord) -> Iterator[tuple[str, str]]:
    cost = record.cost
    alone = None if asked_alone(record) else cost.target_only
    about = "about " if cost.estimated else ""
    if cost.flops is None:
        yield "cost", "FLOPs unknown: the config does not give every model's parameters"
    else:
        share = "" if alone is None else _share(cost.flops, alone.flops, _flops, alone.estimated)
        yield "cost", f"{about}{_flops(cost.flops)} FLOPs{share}"
    if cost.usd or (alone and alone.usd):
        share = "" if alone is None else _share(cost.usd, alone.usd, _usd, alone.estimated)
        yield "", f"{about}{_usd(cost.usd)}{share}"


def _times(timings: Timings) -> str:
    parts = [f"tiers: {', '.join(map(_seconds, timings.tiers))}"] if len(timings.tiers) > 1 else []
    if timings.scoring:
        parts.append(f"scoring: {_seconds(timings.scoring)}")
    return _seconds(timings.total or 0.0) + (f" ({'; '.join(parts)})" if parts else "")


def _share(
    amount: float | None, by_target: float | None, format_number: Callable[[float], str], estimated: bool
) -> str:
    if amount is None or not by_target:
        return ""
    share = amount / by_target
    percent = "<1%" if 0 < share < 0.01 else f"{share:.0%}"
    return f", {percent} of the target alone ({format_number(by_target)}{', estimated' if estimated else ''})"


def _flops(value: float) -> str:
    return f"{value:.2e}".replace("e+", "e")


def _usd(value: float | None) -> str:
    """Format with at least two significant digits, never in powers of ten."""
    if value is None:
        return "US dollars unknown"
    digits = next((d for d in range(2, 12) if round(value, d) and value * 10 ** (d - 1) >= 1), 2)
    return f"${value:.{digits}f}"


def _seconds(value: float) -> str:
    return "<0.01 s" if 0 < value < 0.01 else f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
