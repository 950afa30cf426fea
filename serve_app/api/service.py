"""What the routes need from whoever runs the cascades."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from serve_app.api.schema import CascadeOptions
from serve_app.core.cascade import Run
from serve_app.core.record import DecisionRecord
from serve_app.core.types import Outcome, Prompt


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One id that clients can ask: a cascade, or a single model."""

    id: str
    kind: Literal["cascade", "model"]
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether every tier of every cascade can answer; `details` say what is missing."""

    ready: bool
    details: dict[str, Any]


class Service(Protocol):
    """Runs requests; knows the cascades, their thresholds and prices."""

    keepalive_s: float

    def cards(self) -> list[ModelCard]:
        """Every id that can be asked."""
        ...

    def open(self, model: str, prompt: Prompt, options: CascadeOptions, *, stream: bool) -> Run:
        """A request, not started yet. Raises `UnknownModelError` or `RequestError`."""
        ...

    def close(self, model: str, run: Run, outcome: Outcome | None, options: CascadeOptions) -> DecisionRecord:
        """The decision record of a request that has ended, or was cancelled (None); counts and logs it. Called once."""
        ...

    async def readiness(self) -> Readiness:
        """Whether all can answer, without asking a model."""
        ...
