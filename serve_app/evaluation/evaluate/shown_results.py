"""The examples that `cascade evaluate` shows with all answers: frozen results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serve_app.evaluation.analysis.json_values import Body, Result, plain


@dataclass(frozen=True, slots=True)
class ShownAnswer(Result):
    """An answer's text, None for a failure, and its quality; `compared`: what a view shows of it, None if all."""

    text: str | None
    compared: str | None
    quality: float


@dataclass(frozen=True, slots=True)
class ShownExample(Result):
    """An example with all answers; `selected` is the model whose answer is selected, or None."""

    id: str
    inputs: Mapping[str, Any]
    references: tuple[str, ...]
    agreement: float
    selected: str | None
    answers: Mapping[str, ShownAnswer]

    def to_json(self) -> Body:
        """Return the fields by name; the inputs are JSON as they are."""
        fields = {"references": self.references, "agreement": self.agreement, "selected": self.selected}
        return {"id": self.id, "inputs": dict(self.inputs), **plain(fields), "answers": plain(self.answers)}


@dataclass(frozen=True, slots=True)
class Extremes(Result):
    """The most and the least agreed test examples by one signal, and the accepted answers that lose most.

    `worst`: of those that are accepted if the share `rate` is deferred, with the largest loss against the target.
    """

    signal: str
    most: tuple[ShownExample, ...]
    least: tuple[ShownExample, ...]
    rate: float
    worst: tuple[ShownExample, ...]
