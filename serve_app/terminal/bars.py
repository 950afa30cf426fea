"""Bars of progress, which are drawn only on a terminal."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


class Bars:
    """Base of what shows progress: draws rich's bars while it is entered.

    `_bars` is None if the console is no terminal; then a subclass prints lines to `_console` instead.
    """

    def __init__(self, console: "Console", make: "Callable[[Console], Progress]") -> None:
        self._console = console
        self._bars = make(console) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
