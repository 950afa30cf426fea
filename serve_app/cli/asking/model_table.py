"""The table of every model that was called: what it answered, for how many tokens, in which time."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from serve_app.cli.asking.text import clean, one_line, signature
from serve_app.core.record import AnswerRecord, CallRecord, DecisionRecord, TierRecord
from serve_app.terminal.table import GAP, left_out

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


LEAST_ANSWER = 12
"""Characters of an answer that are shown at least, before columns of numbers."""
HEADER = ("tier", "  model", "answer", "in", "out", "seconds", "status")
OPTIONAL = (4, 3, 5, 6, 0)
"""Columns that a narrow terminal leaves out, the first of them first."""


def print_models(record: DecisionRecord, console: "Console") -> None:
    """Print a table of every model that was called, with a `*` before the one that answered."""
    from rich.table import Table
    from rich.text import Text

    rows = list(_model_rows(record))
    widths = [max(len(row[column]) for row in [HEADER, *rows]) for column in range(len(HEADER))]
    widths[1] = min(widths[1], console.width // 2)
    shown = _columns_shown([*widths[:2], min(widths[2], LEAST_ANSWER), *widths[3:]], console.width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for column in shown:
        is_text = column in (1, 2)
        table.add_column(
            HEADER[column],
            justify="right" if column in (0, 3, 4, 5) else "left",
            no_wrap=not is_text,
            min_width=widths[1] if column == 1 else None,
        )
    for row in rows:
        table.add_row(*(row[column] for column in shown))
    console.print(table)
    if missing := [name for column, name in enumerate(HEADER) if column not in shown]:
        console.print(Text(left_out(missing), "dim"))


def _columns_shown(widths: Sequence[int], width: int) -> list[int]:
    """Return the columns that fit into a width, with a gap behind each."""
    shown = list(range(len(widths)))
    for column in OPTIONAL:
        if sum(widths[index] + GAP for index in shown) <= width:
            break
        shown.remove(column)
    return shown


def _model_rows(record: DecisionRecord) -> "Iterator[tuple[str | Text, ...]]":
    for number, tier in enumerate(record.tiers, 1):
        for index, (model, text) in enumerate(zip(tier.models, _texts(tier), strict=True)):
            tier_number = str(number) if index == 0 else ""
            call = record.models.get(model, NOT_ASKED)
            yield tier_number, *_model_row(model, call, text, model == record.answered_by)


STYLES = {"ok": "green", "not asked": "dim"}
NOT_ASKED = CallRecord("not asked")
"""Status of a model whose tier was settled, or lost, by the answers of earlier tiers."""


def _model_row(model: str, call: CallRecord, text: str | None, answered: bool) -> "tuple[str | Text, ...]":
    from rich.text import Text

    failed = call.status not in ("ok", NOT_ASKED.status)
    status = "truncated" if call.finish_reason == "length" else call.status.replace("_", " ")
    about = "~" if call.estimated else ""
    return (
        one_line(f"{'*' if answered else ' '} {model}", "bold" if answered else ""),
        Text(clean(call.message or ""), "red") if failed else _shortened(text),
        f"{about}{call.prompt_tokens}",
        f"{about}{call.completion_tokens}",
        f"{call.latency_s:.2f}",
        Text(status, "red" if failed else STYLES.get(status, "yellow")),
    )


def _texts(tier: TierRecord) -> list[str | None]:
    """Return what each model of a tier wrote or called, None for a failure and in a record without answers."""
    if tier.answers is None:
        return [None] * len(tier.models)
    return [None if answer is None else _text(answer) for answer in tier.answers]


def _text(answer: AnswerRecord) -> str:
    if not answer.tool_calls:
        return answer.text
    calls = [signature(call.name, call.arguments) for call in answer.tool_calls]
    return " ".join([*filter(None, [answer.text]), *calls])


def _shortened(answer: str | None) -> "Text":
    return one_line("(empty)", "dim") if answer is not None and not answer.strip() else one_line(answer or "", "")
