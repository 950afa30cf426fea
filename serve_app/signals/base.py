"""The contract of every signal, and what all of them share: empty texts, shapes, pairs."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from math import nan
from typing import ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from serve_app.core.types.blend import Blend
from serve_app.core.types.scores import Matrix, Scores
from serve_app.core.types.signal_range import Range

Features = TypeVar("Features")


class Options(BaseModel):
    """Options that a user can write for a signal: immutable, and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SignalOptions(Options):
    """The options of one signal, and what its kind needs to be computed."""

    token_level: ClassVar[bool] = False
    """Judges one answer by its own log-probabilities, and compares no texts."""
    needs_logprobs: ClassVar[bool] = False
    """Reads the answers' log-probabilities, so that texts alone do not suffice."""
    needs_weights: ClassVar[bool] = False
    """Loads a model, whose source and checksum are its `weights` and `sha256`."""
    encodes_texts: ClassVar[bool] = False
    """Spends its work on each text by itself, so that its cost grows with the texts, not with their pairs."""
    isolated: ClassVar[bool] = False
    """Runs in a Python environment, and so in a deployment, of its own."""
    limits: ClassVar[Range | None] = None
    """Bounds every value, each of which depends on its two texts alone; None if it may be anything, or NaN."""

    def range_of(self, parts: Sequence[Range | None], models: Sequence[str]) -> Range | None:
        """Return what bounds the values of the answers of `models`, given the ranges of the signal's components."""
        return self.limits

    def blend_rule(self) -> Blend | None:
        """Return the weights by which the core adds token confidence to agreement, or None if it adds none."""
        return None


class CompositeOptions(SignalOptions, ABC):
    """The options of a signal that is computed from other signals."""

    @abstractmethod
    def components(self) -> dict[tuple[str | int, ...], str]:
        """Return the names of the signals that it compares texts by, each under the path of the field that names it."""

    @abstractmethod
    def chosen(self, texts: Sequence[str]) -> list[str]:
        """Return the names of the components that must be computed for one request's texts."""

    def combine(self, matrices: Sequence[Matrix], texts: Sequence[str]) -> Matrix:
        """Return the n x n matrix of the n texts, from those of the `chosen` components: by default the only one."""
        [matrix] = matrices
        return matrix


class Signal(Protocol):
    """Measures how far texts agree in meaning: the similarities S_ij of the paper, section 3.2.

    `floor` is the lowest value the signal can have; the highest is 1. Only `bleurt`, a regression, has no bounds: its
    floor is about the value of unrelated texts. `symmetric` means that S[i][j] == S[j][i].
    """

    @property
    def floor(self) -> float:
        """Return the value of every pair in which a text is empty or only whitespace."""
        ...

    @property
    def symmetric(self) -> bool:
        """Return whether both directions of a pair have the same value."""
        ...

    def similarities(self, requests: Sequence[Sequence[str]], since: Sequence[int] = ()) -> list[Scores]:
        """Return one n x n matrix for each request of n texts: `S[i][j]` is hypothesis i against reference j.

        `since` has for each request how many of its first texts were compared with each other before: their pairs are
        NaN, not computed. By default no pair was compared before.

        The diagonal is the signal's value of a text and itself: 1, but 0 for a text in which it finds no features
        (ROUGE-2 of one word). For `bleurt` it is 1 by definition: no decision reads it, and computing it would cost
        half as much again for three texts. Two equal answers of different members are compared as any others.

        `flops` are the request's share of the work; the caller measures `device_s`. Raises `SignalError` if the signal
        cannot be computed.
        """
        ...


class TextSignal(ABC):
    """Gives every pair with an empty text the floor, so that `compare` never sees an empty text."""

    floor: ClassVar[float] = 0.0
    symmetric: ClassVar[bool]

    def similarities(self, requests: Sequence[Sequence[str]], since: Sequence[int] = ()) -> list[Scores]:
        """Return one n x n matrix for each request of n texts; see `Signal.similarities`."""
        since = since or [0] * len(requests)
        filled_rows = [[i for i, text in enumerate(texts) if text.strip()] for texts in requests]
        results = self.compare(
            [[texts[i] for i in rows] for texts, rows in zip(requests, filled_rows, strict=True)],
            [sum(i < count for i in rows) for rows, count in zip(filled_rows, since, strict=True)],
        )
        return [
            without_compared(scores if len(rows) == len(texts) else self._widen(scores, rows, len(texts)), count)
            for texts, rows, scores, count in zip(requests, filled_rows, results, since, strict=True)
        ]

    @abstractmethod
    def compare(self, requests: Sequence[Sequence[str]], since: Sequence[int]) -> list[Scores]:
        """Return what `similarities` returns, for requests without empty texts; a request may have no text at all.

        The values of pairs that were compared before are not read.
        """

    def _widen(self, scores: Scores, rows: Sequence[int], size: int) -> Scores:
        matrix = [[self.floor] * size for _ in range(size)]
        for i, values in zip(rows, scores.similarities, strict=True):
            for j, value in zip(rows, values, strict=True):
                matrix[i][j] = value
        return replace(scores, similarities=freeze(matrix))


class LexicalSignal(TextSignal, Generic[Features]):
    """A signal that extracts features of each text once a request, and compares them pair by pair."""

    def compare(self, requests: Sequence[Sequence[str]], since: Sequence[int]) -> list[Scores]:
        return [Scores(self._matrix(texts, count)) for texts, count in zip(requests, since, strict=True)]

    @abstractmethod
    def prepare(self, texts: Sequence[str]) -> list[Features]:
        """Return the features of one request's distinct texts."""

    @abstractmethod
    def itself(self, features: Features) -> float:
        """Return a text's value against itself."""

    @abstractmethod
    def pair(self, first: Features, second: Features) -> tuple[float, float]:
        """Return the value with `first` as the hypothesis, then the value with `second` as the hypothesis."""

    def _matrix(self, texts: Sequence[str], since: int) -> Matrix:
        distinct = list(dict.fromkeys(texts))
        prepared = dict(zip(distinct, self.prepare(distinct), strict=True))
        features = [prepared[text] for text in texts]
        matrix = [[0.0] * len(texts) for _ in texts]
        for i, first in islice(enumerate(features), since, None):
            matrix[i][i] = diagonal = self.itself(first)
            for j in range(i):
                second = features[j]
                matrix[i][j], matrix[j][i] = (diagonal, diagonal) if first is second else self.pair(first, second)
        return freeze(matrix)


def without_compared(scores: Scores, since: int) -> Scores:
    """Return the scores with NaN for the pairs of the first `since` texts, which were compared before."""
    if not since:
        return scores
    rows = enumerate(scores.similarities)
    return replace(scores, similarities=tuple((*(nan,) * since, *row[since:]) if i < since else row for i, row in rows))


def freeze(matrix: Iterable[Iterable[float]]) -> Matrix:
    """Return the rows as tuples."""
    return tuple(tuple(row) for row in matrix)
