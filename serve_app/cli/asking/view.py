"""A response and its decision record on the terminal. Imports rich late, since a command must start fast."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from serve_app.cli.asking.facts import facts
from serve_app.cli.asking.model_table import print_models
from serve_app.cli.asking.text import Body, clean, decimal, one_line, signature
from serve_app.cli.asking.verdicts import several_decided, verdicts
from serve_app.core.record import TierDecision, TierRecord
from serve_app.core.record_json import from_json
from serve_app.terminal.table import left_out

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


LEAST_NUMBERED = 8
"""Characters for a number and the beginning of a model's name, before its similarities."""


def render(body: Body, console: "Console") -> None:
    """Show a response on the terminal: the answer, then how it was decided."""
    from rich.text import Text

    record = from_json(body["cascade"])
    choice = body["choices"][0]
    text = clean(_written(choice["message"])).strip("\n")
    answer = Text(text, "bold") if text.strip() else Text("(an empty answer)", "dim")
    # Into a pipe, so that code keeps the model's own lines.
    console.print(answer, soft_wrap=not console.is_terminal)
    if choice["finish_reason"] == "length":
        console.print(Text("(cut off at the limit of tokens)", "dim"))
    if reasoning := choice["message"].get("reasoning_content"):
        console.print(one_line(f"(thought before: {reasoning})", "dim"), no_wrap=True, overflow="ellipsis")
    console.print()
    if record.cached is None:
        print_models(record, console)
        console.print()
    for table in _matrices(record.tiers, console.width):
        console.print(table)
        console.print()
    for line in verdicts(record):
        console.print(line)
    console.print(facts(record, body["usage"]))


def _matrices(tiers: Sequence[TierRecord], width: int) -> "Iterator[Table | Text]":
    from rich.text import Text

    for number, tier in enumerate(tiers, 1):
        if tier.decision and tier.decision.similarities:
            title = f"similarities of tier {number}" if several_decided(tiers) else "similarities"
            longest = max(len(decimal(value)) for row in tier.decision.similarities for value in row)
            columns = len(tier.models) + (len(tier.models) > 2)
            fits = LEAST_NUMBERED + columns * (longest + 2) <= width
            yield _similarities(tier.models, tier.decision, title) if fits else Text(left_out([title]), "dim")


def _similarities(models: Sequence[str], decision: TierDecision, title: str) -> "Table":
    """Return the matrix: row i, column j is the signal for hypothesis i and reference j.

    Output scores are shown only if they differ from the similarities, so for more than two models.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    has_scores = len(models) > 2
    columns = [str(number) for number in range(1, len(models) + 1)]
    table.add_column(f"{title} ({decision.signal})")
    for name in [*columns, "score"] if has_scores else columns:
        table.add_column(name, justify="right", no_wrap=True)
    for i, (model, row) in enumerate(zip(models, decision.similarities or (), strict=True)):
        values = [*row, decision.output_scores[i]] if has_scores else row
        table.add_row(one_line(f"{i + 1} {model}", ""), *(decimal(value) for value in values))
    return table


def _written(message: Body) -> str:
    """Return an answer's text, then its tool calls, one per line."""
    calls = [call["function"] for call in message.get("tool_calls") or []]
    return "\n".join([*filter(None, [message["content"]]), *map(_call, calls)])


def _call(function: Body) -> str:
    return signature(function["name"], function["arguments"])
