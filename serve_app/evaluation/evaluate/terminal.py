"""What `cascade evaluate` prints to a terminal."""

from typing import TYPE_CHECKING

from serve_app.errors import counted
from serve_app.evaluation.evaluate.results import Evaluation
from serve_app.evaluation.evaluate.tables import tables
from serve_app.evaluation.evaluate.words import remarks, signature
from serve_app.terminal.table import print_table

if TYPE_CHECKING:
    from rich.console import Console

RULE_COLUMNS = 80
"""The longest line over a group's tables: in a pipe, consoles are as wide as tables may be."""


def render(evaluation: Evaluation, console: "Console") -> None:
    """Print the tables and remarks of every cascade to a terminal."""
    from rich.markup import escape
    from rich.rule import Rule

    for group in evaluation.groups:
        metric = group.metrics[0] if group.metrics else ""
        title = f"{group.name}: {metric}, {group.test} examples ({group.fit} others to fit on)"
        console.print(Rule(title, align="left"), width=min(console.width, RULE_COLUMNS))
        if group.problem:
            console.print(group.problem, markup=False)
        for cascade in group.cascades:
            tiers = " -> ".join(" + ".join(tier) for tier in cascade.tiers)
            console.print(f"\n[bold]{escape(cascade.id)}[/bold]: {escape(tiers)}")
            for table in tables(group, cascade, brief=True):
                print_table(table, console)
            for remark in remarks(cascade):
                console.print(f"! {remark}", style="yellow", markup=False)
    if count := evaluation.source.left_out:
        console.print(f"Left out: {counted(count, 'example')} that some model has not been asked about yet.")
    console.print(f"\n{signature(evaluation.source)}", style="dim", markup=False)
