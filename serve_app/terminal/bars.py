"""Bars of progress, which are drawn only on a terminal."""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


T = TypeVar("T")


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

    def counted(self, items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        """Yield the items, and count them in a bar of their own, if bars are drawn."""
        task = None if self._bars is None else self._bars.add_task(description, total=total)
        for item in items:
            yield item
            if self._bars is not None and task is not None:
                self._bars.advance(task)
