"""Counts of several routers in windows of time, as copies that are merged: none is ever lost or counted twice."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic


@dataclass(frozen=True, slots=True)
class Window:
    """One window: its name, the seconds until it is over, and what each router has counted in it."""

    name: str
    left_s: float
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class News:
    """A store's answer to a router: its name, its version, and the windows that changed since an earlier version."""

    store: str
    version: int
    windows: list[Window]


@dataclass(slots=True)
class _Entry:
    ends: float
    version: int = 0
    counts: dict[str, int] = field(default_factory=dict)


class WindowCounts:
    """Counts by window and router. Each only grows, so of two copies the larger one is right. `clock` returns seconds.

    `version` grows with every change.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self.version = 0

    def total(self, name: str) -> int:
        """Return what all routers have counted in a window."""
        entry = self._entries.get(name)
        return 0 if entry is None else sum(entry.counts.values())

    def add(self, name: str, left_s: float, router: str, amount: int) -> None:
        """Count what one router has seen."""
        entry = self._entries.get(name)
        before = 0 if entry is None else entry.counts.get(router, 0)
        self.merge([Window(name, left_s, {router: before + amount})])

    def merge(self, windows: Iterable[Window]) -> None:
        """Take in the windows of another copy."""
        for window in windows:
            entry = self._entries.setdefault(window.name, _Entry(self._clock() + window.left_s))
            for router, count in window.counts.items():
                if count > entry.counts.get(router, 0):
                    self.version += 1
                    entry.counts[router], entry.version = count, self.version

    def changed_since(self, version: int) -> list[Window]:
        """Forget the windows that are over, and return those that were changed after a version."""
        now = self._clock()
        for name in [name for name, entry in self._entries.items() if entry.ends <= now]:
            del self._entries[name]
        return [
            Window(name, entry.ends - now, dict(entry.counts))
            for name, entry in self._entries.items()
            if entry.version > version
        ]
