"""Where routers leave their figures for each other while a client watches."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import monotonic

from serve_app.deployments.showing.figures import Figures

GONE_S = 5.0
"""Seconds after which figures that were not published anew are those of a router that is gone, and a view is closed."""


@dataclass(frozen=True, slots=True)
class FiguresNews:
    """Whether a client watches any router; for a router that is watched, the latest figures of the `others`."""

    watched: bool
    others: list[Figures]


class FiguresBoard:
    """The latest figures of each router. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._figures: dict[str, tuple[float, Figures]] = {}
        self._watched_until = -inf

    def exchange(self, router: str, figures: Figures | None, watching: bool) -> FiguresNews:
        """Take in a router's figures, if it has any; return those of the others if a client is `watching` it."""
        now = self._clock()
        if watching:
            self._watched_until = now + GONE_S
        if figures is not None:
            self._figures[router] = now, figures
        self._figures = {name: entry for name, entry in self._figures.items() if now - entry[0] < GONE_S}
        others = [entry[1] for name, entry in self._figures.items() if name != router]
        return FiguresNews(now < self._watched_until, others if watching else [])
