"""Progress of `collect`: a bar for each model on a terminal, else a line now and then."""

import time
from typing import TYPE_CHECKING

from serve_app.terminal.bars import Bars

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task, TaskID
    from rich.text import Text

LINE_S = 60.0
"""Seconds between two lines about one model, if no bar can be drawn."""
SPEED_S = 600.0
"""Seconds over which the rate is averaged: one answer may take many."""


class CollectProgress(Bars):
    """Shows how many of each model's answers have come."""

    def __init__(self, console: "Console") -> None:
        super().__init__(console, _bars)
        self._models: dict[str, _Model] = {}

    def add(self, model: str, total: int, count: int) -> None:
        """Add a model that needs `total` answers, of which the records already have `count`."""
        task = None
        if self._bars is not None:
            task = self._bars.add_task(model, start=False, total=total, completed=count, failed="")
        self._models[model] = _Model(total, count, task)

    def start(self, model: str) -> None:
        """Start the model's clock, once it is ready."""
        state = self._models[model]
        state.started_s = state.shown_s = time.monotonic()
        if self._bars is not None and state.task is not None:
            self._bars.start_task(state.task)

    def advance(self, model: str, failed: int) -> None:
        """Count one more answer; `failed` is the number of the model's failures so far."""
        state = self._models[model]
        state.count += 1
        state.new += 1
        if self._bars is not None and state.task is not None:
            self._bars.update(state.task, completed=state.count, failed=f"{failed} failed" if failed else "")
        elif state.count == state.total or time.monotonic() - state.shown_s >= LINE_S:
            state.shown_s = time.monotonic()
            self._console.print(f"{model}: {state.line(failed)}", markup=False, highlight=False, soft_wrap=True)


class _Model:
    def __init__(self, total: int, count: int, task: "TaskID | None") -> None:
        self.total = total
        self.count = count
        self.new = 0
        self.task = task
        self.started_s = self.shown_s = 0.0

    def line(self, failed: int) -> str:
        elapsed_s = max(time.monotonic() - self.started_s, 1e-9)
        remaining_time = (
            f", {duration((self.total - self.count) * elapsed_s / self.new)} left" if self.count < self.total else ""
        )
        failures = f", {failed} failed" if failed else ""
        return f"{self.count} of {self.total}{failures}, {rate(self.new / elapsed_s)}{remaining_time}"


def rate(per_s: float | None) -> str:
    """Format a rate as answers a second, or a minute if there is less than one a second."""
    if per_s is None:
        return ""
    return f"{per_s:.1f}/s" if per_s >= 1 else f"{per_s * 60:.1f}/min"


def duration(seconds: float) -> str:
    """Format seconds as hours, minutes and seconds: 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _bars(console: "Console") -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: "Task") -> "Text":
            return Text(rate(task.finished_speed or task.speed))

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[failed]}", style="red", markup=False),
        console=console,
        speed_estimate_period=SPEED_S,
    )
