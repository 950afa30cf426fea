"""`veto`: a signal of texts, except that two texts that contradict each other have its floor."""

from collections.abc import Sequence
from functools import cached_property
from math import isfinite
from typing import Literal

from pydantic import Field

from serve_app.core.types.scores import Matrix
from serve_app.core.types.signal_range import Range
from serve_app.signals.base import CompositeOptions, Options, freeze
from serve_app.signals.composites.contradictions import Check, Contradictions, Words


class VetoWords(Options):
    """Words in place of the English ones, in lower case."""

    negation: list[str] | None = Field(None, description="Words that negate a sentence: not, never, without, ...")
    antonyms: list[tuple[str, str]] | None = Field(None, description="Pairs of opposites: [open, closed], ...")
    yes: list[str] | None = Field(None, description="Words that begin an affirmative answer.")
    no: list[str] | None = Field(None, description="Words that begin a negative answer.")
    numbers: dict[str, int] | None = Field(None, description="Number words and their values.")
    common: list[str] | None = Field(
        None, description="Words that are no names although a sentence may begin with them: the, it, ..."
    )

    def words(self) -> Words:
        """Return these words, and the English ones for what is not written."""
        english = Words()
        return Words(
            negation=english.negation if self.negation is None else frozenset(self.negation),
            antonyms=english.antonyms if self.antonyms is None else frozenset(self.antonyms),
            yes=english.yes if self.yes is None else frozenset(self.yes),
            no=english.no if self.no is None else frozenset(self.no),
            numbers=english.numbers if self.numbers is None else self.numbers,
            common=english.common if self.common is None else frozenset(self.common),
        )


class VetoConfig(CompositeOptions):
    """A signal with a floor for texts that contradict each other, however alike they look to it."""

    kind: Literal["veto"]
    signal: str = Field(description="A signal that compares texts, or a mix of them.")
    by: list[Check] = Field(
        ["numbers", "negation", "names", "choice"],
        min_length=1,
        description="What contradicts: other numbers, a negation or an opposite, other names, another choice.",
    )
    floor: float = Field(0.0, description="The similarity of texts that contradict each other.")
    words: VetoWords = Field(VetoWords(), description="Words of another language than English.")

    def components(self) -> dict[tuple[str | int, ...], str]:
        """Return the one signal that it is made of."""
        return {("signal",): self.signal}

    def chosen(self, texts: Sequence[str]) -> list[str]:
        """Return the one signal that it is made of, whatever the texts."""
        return [self.signal]

    def range_of(self, parts: Sequence[Range | None], models: Sequence[str]) -> Range | None:
        """Return the signal's range, widened to the floor; None if it has none."""
        [base] = parts
        if base is None or not isfinite(self.floor):
            return None
        return Range(min(base.low, self.floor), base.high)

    def combine(self, matrices: Sequence[Matrix], texts: Sequence[str]) -> Matrix:
        """Return the signal's n x n matrix, with the floor (or what is lower) for every pair that contradicts."""
        [matrix] = matrices
        pairs = self._contradictions.pairs(texts)
        if not pairs:
            return matrix
        return freeze(
            [min(value, self.floor) if (i, j) in pairs or (j, i) in pairs else value for j, value in enumerate(row)]
            for i, row in enumerate(matrix)
        )

    @cached_property
    def _contradictions(self) -> Contradictions:
        return Contradictions(tuple(self.by), self.words.words())
