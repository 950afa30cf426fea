"""A table that is laid out once: for people at a terminal, for Markdown, HTML and CSV."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are ready to be printed. `bold` are places of (row, column): the best of its kind."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    note: str = ""
