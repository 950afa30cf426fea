"""The interfaces through which the decision core calls models and scorers."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from serve_app.core.types.answer import Answer, Delta
from serve_app.core.types.outcome import Precheck
from serve_app.core.types.prompt import Prompt
from serve_app.core.types.scores import Scores


class Model(Protocol):
    """A deployed language model. Failures are returned, not raised; cancelling the awaiting task stops the work."""

    async def generate(self, prompt: Prompt) -> Answer:
        """Return the whole answer."""
        ...

    def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        """Yield deltas as they arrive, then exactly one `Generation` (whose text is their sum) or `Failure`."""
        ...


class Scorer(Protocol):
    """Measures how far texts agree."""

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        """Return an n x n matrix for n texts; pairs with an empty text get the signal's floor.

        Pairs of the first `since` texts, which were compared before, are not computed: they are NaN, and not charged.
        Raises `SignalError` if the signal is unknown or cannot be computed.
        """
        ...


class Speculation(Protocol):
    """Says when the models of a tier are called before the tier before it has decided."""

    def delay_s(self, number: int, prompt: Prompt) -> float | None:
        """Return for how many seconds tier `number` (from 0) runs before the next is called; None: until it ends."""
        ...

    def may_start(self, models: Sequence[str]) -> bool:
        """Return whether these models may be called now, all at once; asked at the time that `delay_s` names."""
        ...


class Prechecker(Protocol):
    """Predicts whether a request is nearly always deferred, or nearly always accepted, by past requests like it."""

    async def check(self, prompt: Prompt) -> Precheck:
        """Return the precheck by past requests like the prompt's. Never raises: without a verdict the cascade runs."""
        ...
