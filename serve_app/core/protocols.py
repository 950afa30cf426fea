"""The interfaces through which the decision core calls models and scorers."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from serve_app.core.types import Answer, Delta, Prompt, Scores


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

    async def score(self, signal: str, texts: Sequence[str]) -> Scores:
        """Return an n x n matrix for n texts; pairs with an empty text get the signal's floor.

        Raises `SignalError` if the signal is unknown or cannot be computed.
        """
        ...
