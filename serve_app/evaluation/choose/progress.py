"""How many cascades have been tried, as a bar on a terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from serve_app.evaluation.choose.tiers import Specs
from serve_app.terminal.bars import Bars

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


class ChooseProgress(Bars):
    """Shows how many of the cascades to try have been tried."""

    def __init__(self, console: "Console") -> None:
        super().__init__(console, _bars)

    def count(self, cascades: Sequence[Specs]) -> Iterator[Specs]:
        """Return the cascades, counted as they are taken."""
        return self.counted(cascades, "choosing", len(cascades))


def _bars(console: "Console") -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cascades"),
        TimeRemainingColumn(),
        console=console,
    )
