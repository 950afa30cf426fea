"""What `cascade choose` prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import yaml

from serve_app.evaluation.analysis.costs import LATENCIES
from serve_app.evaluation.analysis.json_values import Body
from serve_app.evaluation.choose.choose import Selection

if TYPE_CHECKING:
    from rich.console import Console


def render(found: Selection, console: "Console") -> None:
    """Show it to people."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    several = "tiers" in found.front[0]
    names = (
        *(("tiers", "signals", "thresholds") if several else ("members", "signal", "threshold")),
        f"{found.unit} / target's",
        "quality",
        "first tier defers" if several else "deferred",
        "quality when chosen",
    )
    for number, name in enumerate(names):
        shown.add_column(name, justify="left" if number < 2 else "right")
    for one in found.front:
        style = "bold green" if one is found.best else None
        shown.add_row(*map(escape, _cells(one)), style=style)
    console.print(shown)
    console.print("Selection on a quarter of the examples; all but the last column is from another.", style="dim")
    if found.unit == "latency_s":
        console.print(LATENCIES, style="dim")
    if found.best is not None:
        console.print(
            f"Within {found.budget:.0%}:\n{snippet(found.best)}", markup=False, highlight=False, soft_wrap=True
        )
        console.print(found.best["signature"], style="dim", markup=False, soft_wrap=True)


def _configured(one: Body) -> list[Body]:
    """The tiers but the target, as a config has them."""
    if "tiers" in one:
        return list(one["tiers"])
    return (
        [{"models": one["members"], "signal": one["signal"], "threshold": one["threshold"]}] if one["members"] else []
    )


def _cells(one: Body) -> Sequence[str]:
    tiers = _configured(one)
    return (
        " -> ".join(" + ".join(tier["models"]) for tier in tiers) or f"{one['target']} alone",
        " -> ".join(tier["signal"] for tier in tiers),
        ", ".join(f"{tier['threshold']:.5g}" for tier in tiers),
        f"{one['cost']:.1%}",
        f"{one['quality']:.4f}",
        f"{one['rate']:.1%}",
        f"{one['when_chosen']['quality']:.4f}",
    )


def snippet(one: Body) -> str:
    """As a config has it."""
    config = {"tiers": [*_configured(one), {"models": [one["target"]]}]}
    if one["signals"]:
        config = {"signals": one["signals"]} | config
    return str(yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=120)).rstrip()
