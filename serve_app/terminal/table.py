"""A table that is laid out once: for a terminal, which may be narrow, for Markdown, HTML and CSV."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

BREAKS = re.compile(r" (?=\[)|(?<=[:;\]]) ")
"""Where a cell of numbers may be broken: before and after an interval, and after a colon or semicolon."""
GAP = 2
"""Spaces between two columns."""
NARROWEST = 20
"""Characters that a column of words keeps at least, if it has as many."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are ready to be printed. `bold` are places of (row, column): the best of its kind.

    `words`: the columns whose cells are words, which may be broken between them; those of numbers may not. `optional`:
    the columns that a narrow terminal leaves out, the first of them first.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    note: str = ""
    words: frozenset[int] = frozenset({0})
    optional: tuple[int, ...] = ()

    def parts(self, row: int, column: int) -> list[str]:
        """Return the parts of a cell that no line may break, if it is not of words."""
        cell = self.rows[row][column]
        return cell.split() if column in self.words else BREAKS.split(cell)


def print_table(table: Table, console: "Console") -> None:
    """Print a table; if it is too wide, intervals go to a line of their own, then optional columns are left out."""
    from rich.markup import escape
    from rich.table import Table as RichTable

    rows, columns = _fitted(table, console.width)
    rich_table = RichTable(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for column in columns:
        is_words = column in table.words
        width = _width(table.header[column], rows, column, is_words=is_words)
        rich_table.add_column(
            "\n".join(wrap(table.header[column], width)),
            justify="left" if column == 0 else "right",
            vertical="top",
            no_wrap=not is_words,
            min_width=width,
            overflow="fold",
        )
    for number, row in enumerate(rows):
        cells = [escape(row[column]) for column in columns]
        bold = [(number, column) in table.bold for column in columns]
        rich_table.add_row(*(f"[bold]{cell}[/bold]" if best else cell for cell, best in zip(cells, bold, strict=True)))
    console.print(f"\n{table.title}", style="bold", markup=False)
    console.print(rich_table)
    missing = [name for column, name in enumerate(table.header) if column not in columns]
    notes = [table.note] if table.note else []
    if missing:
        notes.append(left_out(missing))
    if notes:
        console.print(" ".join(notes), style="dim", markup=False)


def left_out(names: Sequence[str]) -> str:
    """Return the sentence under a table about columns that it has no room for."""
    return f"Too wide for this terminal, but in --json: {', '.join(names)}."


def _fitted(table: Table, width: int) -> tuple[list[tuple[str, ...]], list[int]]:
    """Return the rows, with cells broken if need be, and the columns that fit."""
    columns = list(range(len(table.header)))
    rows = list(table.rows)
    if _total(table, rows, columns) <= width:
        return rows, columns
    rows = [
        tuple(cell if k in table.words else "\n".join(table.parts(number, k)) for k, cell in enumerate(row))
        for number, row in enumerate(table.rows)
    ]
    for column in table.optional:
        if _total(table, rows, columns) <= width:
            break
        columns.remove(column)
    return rows, columns


def _total(table: Table, rows: Sequence[Sequence[str]], columns: Sequence[int]) -> int:
    widths = [_width(table.header[column], rows, column, is_words=column in table.words) for column in columns]
    return sum(widths) + GAP * (len(columns) - 1)


def _width(name: str, rows: Sequence[Sequence[str]], column: int, *, is_words: bool) -> int:
    """Return the least width of a column: no number, no word and no part of the header's words is broken."""
    cells = [row[column] for row in rows]
    longest = max((len(line) for cell in cells for line in cell.splitlines()), default=0)
    if is_words:
        words = max((len(word) for cell in cells for word in cell.split()), default=0)
        longest = max(words, min(longest, NARROWEST))
    return max(longest, *(len(word) for part in name.split() for word in re.split(r"(?<=-)", part)))
