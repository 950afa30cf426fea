"""What `cascade choose` prints."""

from typing import TYPE_CHECKING

import yaml

from serve_app.core.sampling import base_name
from serve_app.evaluation.analysis.costs import LATENCIES
from serve_app.evaluation.choose.results import ChosenCascade, Selection
from serve_app.terminal.table import Table, print_table

if TYPE_CHECKING:
    from rich.console import Console


def render(selection: Selection, console: "Console") -> None:
    """Print the Pareto front to a terminal, whether to cascade at all, and the best cascade within the budget."""
    print_table(_front(selection), console)
    if selection.unit == "latency_s":
        console.print(LATENCIES, style="dim")
    for sentence in sentences(selection):
        console.print(sentence, markup=False, highlight=False, style="bold")
    if selection.best is not None:
        console.print(
            f"Within {selection.budget:.0%}:\n{snippet(selection.best)}", markup=False, highlight=False, soft_wrap=True
        )
        if selection.best.tiers:
            command = "cascade calibrate --cascade NAME --config FILE --chosen, with the same --seed"
            console.print(f"To calibrate it on these records: put it into a config; {command}.", style="dim")
        console.print(selection.best.signature, style="dim", markup=False, soft_wrap=True)


def _front(selection: Selection) -> Table:
    several = any(cascade.several for cascade in selection.front)
    header = (
        *(("tiers", "signals", "thresholds") if several else ("members", "signal", "threshold")),
        f"{selection.unit} / target's",
        "quality",
        "gain",
        "over",
        "first tier defers" if several else "deferred",
        "quality when chosen",
    )
    rows = tuple(map(_cells, selection.front))
    best = [number for number, cascade in enumerate(selection.front) if cascade is selection.best]
    bold = frozenset((number, column) for number in best for column in range(len(header)))
    note = (
        "Chosen on a quarter of the examples; all but the quality when chosen is from another. gain: quality less that "
    )
    note += "of the best model alone that costs no more, with its 95% interval; over: that model. "
    note += f"Tried: {selection.tried:,} cascades, each with many thresholds."
    if selection.left_out:
        note += f" {selection.left_out:,} ladders of more or dearer members were left out: name fewer with --members."
    return Table("Pareto front", header, rows, bold, note, words=frozenset({0, 1, 6}), optional=(8, 6, 7))


def _cells(cascade: ChosenCascade) -> tuple[str, ...]:
    gain = cascade.gain
    models = " -> ".join(" + ".join(tier.models) for tier in cascade.tiers)
    return (
        models or f"{cascade.target} alone",
        " -> ".join(tier.signal for tier in cascade.tiers),
        ", ".join(f"{tier.threshold:.5g}" for tier in cascade.tiers),
        f"{cascade.cost:.1%}",
        f"{cascade.quality.estimate:.4f}",
        gain.difference.signed_text() if gain else "",
        gain.model if gain else "",
        "" if cascade.rate is None else f"{cascade.rate:.1%}",
        f"{cascade.when_chosen.quality:.4f}",
    )


def sentences(selection: Selection) -> list[str]:
    """Return the answer "do not cascade" with its figures, or nothing if a cascade is shown to be better."""
    model, best = selection.instead, selection.best
    if model is None:
        return []
    quality = model.quality
    first = (
        f"Do not cascade: {model.target} alone has a quality of {quality.estimate:.4f} [{quality.low:.4f}, "
        f"{quality.high:.4f}] for {model.cost:.1%} of the target's {selection.unit}."
    )
    if best is None:
        return [f"{first} No cascade is shown to be better, and those that cost less are worse."]
    if best.gain is None:
        return [f"{first} Nothing within the budget was better."]
    second = (
        f"The best cascade within the budget, for {best.cost:.1%}, has {best.gain.difference.signed_text()} in "
        f"comparison on {selection.examples} examples, which shows no gain."
    )
    more = ["More examples might show one."] if best.gain.difference.high > 0 else []
    return [first, " ".join([second, *more])]


def snippet(cascade: ChosenCascade) -> str:
    """Return the cascade as YAML for a config, with the signals that its thresholds need.

    For a target that is a sample it has the sample's model, which a config cannot have sampled once as the target.
    """
    tiers = [*(tier.to_config() for tier in cascade.tiers), {"models": [base_name(cascade.target)]}]
    config = ({"signals": cascade.signals} if cascade.signals else {}) | {"tiers": tiers}
    return str(yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=120)).rstrip()
