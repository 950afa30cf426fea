"""Signals computed from other signals: a weighted mix, and a choice by the length of the answers."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, field_validator, model_validator

from serve_app.core.protocols import Scorer
from serve_app.core.types.scores import Matrix, Scores
from serve_app.core.types.signal_range import Range
from serve_app.signals.base import CompositeOptions, Options, freeze, without_compared


class MixPart(Options):
    """One signal of a mix, and the range that is mapped to 0..1, clipped at both ends, before it is weighted."""

    signal: str = Field(description="A signal that compares texts and is not computed from others.")
    weight: float = Field(1.0, gt=0, description="Relative to the other parts' weights.")
    low: float = Field(0.0, description="Similarity that counts as no agreement.")
    high: float = Field(1.0, description="Similarity that counts as full agreement.")

    def normalise(self, value: float) -> float:
        """Return a similarity mapped from low..high to 0..1, clipped at both ends."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    @model_validator(mode="after")
    def _ordered(self) -> "MixPart":
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be less than high ({self.high:g})")
        return self


class MixConfig(CompositeOptions):
    """The weighted mean of several signals, each normalised by its declared range."""

    kind: Literal["mix"]
    parts: list[MixPart] = Field(min_length=2, description="The signals, with ranges and weights.")

    def components(self) -> dict[tuple[str | int, ...], str]:
        """Return the signals of all parts."""
        return {("parts", number, "signal"): part.signal for number, part in enumerate(self.parts)}

    def chosen(self, texts: Sequence[str]) -> list[str]:
        """Return the signals of all parts, whatever the texts."""
        return [part.signal for part in self.parts]

    def range_of(self, parts: Sequence[Range | None], models: Sequence[str]) -> Range | None:
        """Return the weighted mean of the parts' ranges, each normalised; a part without a range counts as 0..1."""
        total = sum(part.weight for part in self.parts)
        if total == math.inf:
            return None
        lows = [part.low if limit is None else limit.low for part, limit in zip(self.parts, parts, strict=True)]
        highs = [part.high if limit is None else limit.high for part, limit in zip(self.parts, parts, strict=True)]
        return Range(self._mean(lows, total), self._mean(highs, total))

    def combine(self, matrices: Sequence[Matrix], texts: Sequence[str]) -> Matrix:
        """Return the weighted mean of the parts' n x n matrices, each normalised by its range: values in 0..1."""
        total = sum(part.weight for part in self.parts)
        size = range(len(matrices[0]))
        return freeze([self._mean([matrix[i][j] for matrix in matrices], total) for j in size] for i in size)

    def _mean(self, values: Sequence[float], total: float) -> float:
        return sum(part.weight * part.normalise(value) for part, value in zip(self.parts, values, strict=True)) / total


class LengthCase(Options):
    """A signal, and the longest answers that it compares."""

    signal: str = Field(description="A signal that compares texts, or a mix of them.")
    max_characters: int | None = Field(None, gt=0, description="Length limit for the longest answer; null: any length.")


class ByLengthConfig(CompositeOptions):
    """A signal for short answers and others for longer ones: the first case that the longest answer fits applies.

    Lengths are in characters, since not every script puts spaces between words. One threshold holds for all cases, so
    wrap signals of different ranges in mixes, which normalise them. It has no range: a longer answer that arrives later
    changes the similarities of all others.
    """

    kind: Literal["by_length"]
    cases: list[LengthCase] = Field(min_length=2, description="In the order of their lengths.")

    @field_validator("cases")
    @classmethod
    def _ascending(cls, cases: list[LengthCase]) -> list[LengthCase]:
        *limited, last = [case.max_characters for case in cases]
        if last is not None or None in limited or limited != sorted(set(filter(None, limited))):
            raise ValueError("max_characters must rise from case to case, and be null for the last case only")
        return cases

    def components(self) -> dict[tuple[str | int, ...], str]:
        """Return the signals of all cases."""
        return {("cases", number, "signal"): case.signal for number, case in enumerate(self.cases)}

    def chosen(self, texts: Sequence[str]) -> list[str]:
        """Return the signal of the first case that the longest text fits, in characters without outer spaces."""
        longest = max((len(text.strip()) for text in texts), default=0)
        fitting = (case for case in self.cases if case.max_characters is None or longest <= case.max_characters)
        return [next(fitting).signal]


class CompositeScorer:
    """A `Scorer` of composites, which asks another scorer for the plain signals.

    A mix may thus have parts that are computed in different deployments, and the same code runs offline.
    """

    def __init__(self, plain: Scorer, composites: Mapping[str, CompositeOptions]) -> None:
        self._plain = plain
        self._composites = composites

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        """Return the signal's matrix for one request's texts, charged with the work of every component computed."""
        config = self._composites.get(signal)
        if config is None:
            return await self._plain.score(signal, texts, since)
        scores = await asyncio.gather(*(self.score(component, texts, since) for component in config.chosen(texts)))
        combined = Scores(
            config.combine([score.similarities for score in scores], texts),
            flops=sum(score.flops for score in scores),
            device_s=sum(score.device_s for score in scores),
            truncated_pairs=sum(score.truncated_pairs for score in scores),
        )
        return without_compared(combined, since)
