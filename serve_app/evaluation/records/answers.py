"""One model's answers in memory, with their log-probabilities packed."""

import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any

from serve_app.core.types.answer import Answer, Generation, TokenLogprob


class Logprobs:
    """An answer's log-probabilities in 16 bytes a token: as `TokenLogprob`s they would fill the memory.

    `pairs` are a line's [token, log-probability] pairs. Raises ValueError if they are not.
    """

    __slots__ = ("tokens", "values")

    def __init__(self, pairs: Any) -> None:
        try:
            self.tokens = tuple(sys.intern(token) for token, _ in pairs)
            self.values = array("d", (value for _, value in pairs))
        except (TypeError, ValueError, OverflowError):
            raise ValueError("logprobs: must be pairs of a token and a number") from None

    def unpacked(self) -> tuple[TokenLogprob, ...]:
        """Return them as the core reads them."""
        return tuple(map(TokenLogprob, self.tokens, self.values))


class Answers:
    """One model's answers, in the order of the examples; None if the model was not asked. `examples` may grow."""

    def __init__(self, examples: Sized) -> None:
        self._examples = examples
        self._answers: dict[int, Answer] = {}
        self._logprobs: dict[int, Logprobs] = {}
        self._scores: dict[int, Mapping[str, float]] = {}

    def put(
        self, index: int, answer: Answer, logprobs: Logprobs | None, scores: Mapping[str, float] | None = None
    ) -> None:
        """Set the answer to an example and its scores, in place of earlier ones."""
        self._answers[index] = answer
        self._logprobs.pop(index, None)
        if logprobs is not None:
            self._logprobs[index] = logprobs
        self._scores.pop(index, None)
        if scores:
            self._scores[index] = scores

    def restricted(self, rows: Sequence[int], examples: Sized) -> "Answers":
        """Return the answers to some examples, of which `rows` are the indices here, in their order."""
        answers = Answers(examples)
        for index, row in enumerate(rows):
            if (answer := self._answers.get(row)) is not None:
                answers.put(index, answer, self._logprobs.get(row), self._scores.get(row))
        return answers

    def followed_by(self, later_answers: "Answers", examples: Sized) -> "Answers":
        """Return these answers and, behind them, another's; `examples` are those of both."""
        answers = self.restricted(range(len(self)), examples)
        for row, answer in later_answers._answers.items():
            answers.put(len(self) + row, answer, later_answers._logprobs.get(row), later_answers._scores.get(row))
        return answers

    def __len__(self) -> int:
        return len(self._examples)

    def __iter__(self) -> Iterator[Answer | None]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Answer | None:
        if not 0 <= index < len(self):
            raise IndexError(index)
        answer, logprobs = self._answers.get(index), self._logprobs.get(index)
        return replace(answer, logprobs=logprobs.unpacked()) if isinstance(answer, Generation) and logprobs else answer

    def without_logprobs(self, index: int) -> Answer | None:
        """Return the answer as it is stored: no copy is made, and its log-probabilities are not in it."""
        return self._answers.get(index)

    def logprobs(self, index: int) -> "array[float] | None":
        """Return the log-probabilities of one answer's tokens, or None."""
        packed = self._logprobs.get(index)
        return None if packed is None else packed.values

    def scores(self, index: int) -> Mapping[str, float]:
        """Return the given qualities of one answer by name, 0..1 each; empty if it has none."""
        return self._scores.get(index, {})
