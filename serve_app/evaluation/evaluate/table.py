"""A table that is laid out once: for people at a terminal, for Markdown, HTML and CSV."""

import re
from dataclasses import dataclass

BREAKS = re.compile(r" (?=\[)|(?<=[:;\]]) ")
"""Where a cell of numbers may be broken: before and after an interval, and after a colon or semicolon."""


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
