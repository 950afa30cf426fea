"""Progress of downloads: a small protocol, a silent reporter, and bars drawn by rich."""

import time
from typing import TYPE_CHECKING, Protocol

from serve_app.terminal.bars import Bars
from serve_app.terminal.console import note_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class ProgressTask(Protocol):
    """The progress of one model; `done_bytes` and `total_bytes` keep their last values when left out."""

    def update(self, note: str, done_bytes: int | None = None, total_bytes: int | None = None) -> None: ...

    def message(self, text: str) -> None:
        """Report an event that is worth a line even in a log file, such as waiting for another process."""

    def finish(self, note: str) -> None: ...


class ProgressReporter(Protocol):
    """Whatever shows progress; may be used by several threads at once."""

    def start(self, name: str) -> ProgressTask: ...


class SilentProgress:
    """Shows nothing; reporter and task in one, since it has no state."""

    def start(self, name: str) -> ProgressTask:
        return self

    def update(self, note: str, done_bytes: int | None = None, total_bytes: int | None = None) -> None:
        pass

    def message(self, text: str) -> None:
        pass

    def finish(self, note: str) -> None:
        pass


class RichProgress(Bars):
    """One bar per model on a terminal; elsewhere one plain line per finished model.

    with RichProgress() as progress:
        fetch(uri, sha256, progress=progress)
    """

    def __init__(self, console: "Console | None" = None) -> None:
        super().__init__(console or note_console(), _bars)

    def start(self, name: str) -> ProgressTask:
        if self._bars is None:
            return _PlainTask(self._console, name)
        return _BarTask(self._bars, self._bars.add_task(name, total=None, note=""))


def _bars(console: "Console") -> "Progress":
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
    from rich.table import Column

    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=2)),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        DownloadColumn(table_column=Column(no_wrap=True)),
        TransferSpeedColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
        console=console,
        expand=True,
    )


class _BarTask:
    def __init__(self, bars: "Progress", task_id: "TaskID") -> None:
        self._bars = bars
        self._task_id = task_id

    def update(self, note: str, done_bytes: int | None = None, total_bytes: int | None = None) -> None:
        self._bars.update(self._task_id, note=note, completed=done_bytes, total=total_bytes)

    def message(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False)

    def finish(self, note: str) -> None:
        self._bars.update(self._task_id, note=note)
        self._bars.stop_task(self._task_id)


class _PlainTask:
    def __init__(self, console: "Console", name: str) -> None:
        self._console = console
        self._name = name
        self._started_s = time.monotonic()
        self._done_bytes = 0

    def update(self, note: str, done_bytes: int | None = None, total_bytes: int | None = None) -> None:
        if done_bytes is not None:
            self._done_bytes = done_bytes

    def message(self, text: str) -> None:
        # A log has no width: its lines are not folded.
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def finish(self, note: str) -> None:
        size = f", {self._done_bytes / 1e6:.1f} MB" if self._done_bytes else ""
        self.message(f"{self._name}: {note}{size} in {time.monotonic() - self._started_s:.1f} s")
