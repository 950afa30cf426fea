"""How far an import has come, as a bar on a terminal."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from serve_app.evaluation.importing.formats.rows import Row
from serve_app.terminal.bars import Bars

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


class ImportProgress(Bars):
    """Shows how many answers have been read."""

    def __init__(self, console: "Console") -> None:
        super().__init__(console, _bars)

    def count(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Return the rows, counted as they are read."""
        return self.counted(rows, "reading")


def _bars(console: "Console") -> "Progress":
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,.0f} answers"),
        TimeElapsedColumn(),
        console=console,
    )
