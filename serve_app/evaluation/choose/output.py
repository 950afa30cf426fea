"""What `cascade choose` prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import yaml

from serve_app.evaluation.analysis.costs import LATENCIES
from serve_app.evaluation.choose.results import ChosenCascade, Selection

if TYPE_CHECKING:
    from rich.console import Console


def render(selection: Selection, console: "Console") -> None:
    """Print the Pareto front to a terminal, and the best cascade within the budget as YAML."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    several = selection.front[0].several
    names = (
        *(("tiers", "signals", "thresholds") if several else ("members", "signal", "threshold")),
        f"{selection.unit} / target's",
        "quality",
        "first tier defers" if several else "deferred",
        "quality when chosen",
    )
    for number, name in enumerate(names):
        shown.add_column(name, justify="left" if number < 2 else "right")
    for cascade in selection.front:
        style = "bold green" if cascade is selection.best else None
        shown.add_row(*map(escape, _cells(cascade)), style=style)
    console.print(shown)
    console.print("Chosen on a quarter of the examples; all but the last column is from another.", style="dim")
    if selection.unit == "latency_s":
        console.print(LATENCIES, style="dim")
    if selection.best is not None:
        console.print(
            f"Within {selection.budget:.0%}:\n{snippet(selection.best)}", markup=False, highlight=False, soft_wrap=True
        )
        console.print(selection.best.signature, style="dim", markup=False, soft_wrap=True)


def _cells(cascade: ChosenCascade) -> Sequence[str]:
    return (
        " -> ".join(" + ".join(tier.models) for tier in cascade.tiers) or f"{cascade.target} alone",
        " -> ".join(tier.signal for tier in cascade.tiers),
        ", ".join(f"{tier.threshold:.5g}" for tier in cascade.tiers),
        f"{cascade.cost:.1%}",
        f"{cascade.quality:.4f}",
        f"{cascade.rate:.1%}",
        f"{cascade.when_chosen.quality:.4f}",
    )


def snippet(cascade: ChosenCascade) -> str:
    """Return the cascade as YAML for a config, with the signals that its thresholds need."""
    tiers = [*(tier.to_config() for tier in cascade.tiers), {"models": [cascade.target]}]
    config = ({"signals": cascade.signals} if cascade.signals else {}) | {"tiers": tiers}
    return str(yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=120)).rstrip()
