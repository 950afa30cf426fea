"""Answers compared inside the router, by signals that need no model: short ones, and all while a scorer is down."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from serve_app.core.deciding.inline import characters, compared_at_once, compared_if_needed
from serve_app.core.protocols import Scorer
from serve_app.core.types.scores import Scores
from serve_app.deployments.scorer_server import Texts, score_batch
from serve_app.errors import CascadeError, SignalError
from serve_app.signals import SignalConfig, build_signal

logger = logging.getLogger("ray.serve")


class LexicalScorer:
    """Scores by lexical signals in this process: up to `at_once` characters at once, most in a thread."""

    def __init__(self, signals: Mapping[str, SignalConfig], at_once: int) -> None:
        # Built now, because imports during a request would delay other requests.
        self._signals = {name: build_signal(config) for name, config in signals.items()}
        self._at_once = at_once

    def computes_at_once(self, signal: str, texts: Sequence[str]) -> bool:
        """Return whether the signal is one of these, and the texts are short."""
        return signal in self._signals and compared_at_once(texts, self._at_once)

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        """Return the n x n similarities of n texts; NaN for pairs of the first `since`.

        Raises `SignalError` if the texts are too long for the router, or the signal fails, and `KeyError` if it is not
        one of the signals here.
        """
        if self.computes_at_once(signal, texts):
            return self._score(signal, texts, since)
        if not compared_if_needed(texts):
            raise SignalError(f"{characters(texts)} characters are more than the router compares itself.")
        return await asyncio.to_thread(self._score, signal, texts, since)

    def _score(self, signal: str, texts: Sequence[str], since: int) -> Scores:
        try:
            [scores] = score_batch(self._signals[signal], [Texts(texts, since)])
        except CascadeError:
            raise
        except Exception as error:  # any failure is a reason to defer, as with the remote scorer
            logger.warning("Scoring by %r failed: %r", signal, error)
            raise SignalError("The scorer failed.") from error
        return scores


class InlineScorer:
    """Scores up to `max_characters` characters of answers here if the signal is lexical; otherwise calls `beyond`.

    A call of the scorer costs the router some 2 ms of CPU, and as much there (`make bench-scaling`). 2,000 characters
    of up to five answers take chrf 2.7 ms and every other lexical signal about 1 ms or less; options such as a high
    `char_order` take longer.
    """

    def __init__(self, signals: Mapping[str, SignalConfig], beyond: Scorer, max_characters: int) -> None:
        lexical = {name: config for name, config in signals.items() if not config.needs_weights}
        self._lexical = LexicalScorer(lexical if max_characters else {}, max_characters)
        self._beyond = beyond

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        """Return the n x n similarities of n texts; NaN for pairs of the first `since`.

        Raises `SignalError` if the signal or its scorer fails.
        """
        here = self._lexical.computes_at_once(signal, texts)
        return await (self._lexical if here else self._beyond).score(signal, texts, since)
