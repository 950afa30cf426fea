"""The figures of one router or more: merged, those of several routers are the figures of all their requests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from serve_app.core.record_json import JsonObject
from serve_app.deployments.showing.tally import Tally, summed

V = TypeVar("V")

RECENT = 25
"""Latest decisions that are shown."""


@dataclass(frozen=True, slots=True)
class CascadeFigures:
    """What the requests of a cascade, or of a single model, of the last minutes add up to.

    `series` has requests, deferred and failed ones by the second of Unix time in which they ended, without seconds that
    had none. `pressure` is how far the target is taken, and `shedding` whether a router decides as under pressure.
    """

    tally: Tally = field(default_factory=Tally)
    series: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    shedding: bool = False
    pressure: float = 0.0

    def merged(self, other: "CascadeFigures") -> "CascadeFigures":
        """Return the figures of both."""
        series = dict(self.series)
        for second, (requests, deferred, failed) in other.series.items():
            before = series.get(second, (0, 0, 0))
            series[second] = before[0] + requests, before[1] + deferred, before[2] + failed
        return CascadeFigures(
            summed([self.tally, other.tally]),
            series,
            self.shedding or other.shedding,
            max(self.pressure, other.pressure),
        )


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """A model's requests in progress, of so many slots, and how many routers leave it out."""

    in_progress: int = 0
    slots: int = 0
    left_out: int = 0

    def merged(self, other: "ModelFigures") -> "ModelFigures":
        """Return the figures of both."""
        return ModelFigures(
            self.in_progress + other.in_progress, self.slots + other.slots, self.left_out + other.left_out
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision of a router, at `at` seconds of Unix time, as it is shown."""

    at: float
    router: str
    shown: JsonObject


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of `routers`, complete until `at` in Unix time; `recent` decisions begin with the latest."""

    routers: frozenset[str]
    at: float
    cascades: dict[str, CascadeFigures]
    models: dict[str, ModelFigures]
    recent: tuple[Decision, ...]

    def merged(self, other: "Figures") -> "Figures":
        """Return the figures of both, which have no router in common."""
        latest = sorted(
            (*self.recent, *other.recent), key=lambda decision: (decision.at, decision.router), reverse=True
        )
        return Figures(
            self.routers | other.routers,
            min(self.at, other.at),
            _united(self.cascades, other.cascades, CascadeFigures.merged),
            _united(self.models, other.models, ModelFigures.merged),
            tuple(latest[:RECENT]),
        )


def _united(first: Mapping[str, V], second: Mapping[str, V], merge: Callable[[V, V], V]) -> dict[str, V]:
    united = dict(first)
    for name, value in second.items():
        united[name] = merge(united[name], value) if name in united else value
    return united
