"""Short answers compared inside the router, by signals that need no model: calling the scorer would take longer."""

import logging
from collections.abc import Mapping, Sequence

from serve_app.core.protocols import Scorer
from serve_app.core.types.policy import Scores
from serve_app.deployments.scorer_server import Texts, score_batch
from serve_app.errors import CascadeError, SignalError
from serve_app.signals import SignalConfig, build_signal

logger = logging.getLogger("ray.serve")


class InlineScorer:
    """Scores up to `max_characters` characters of answers here if the signal is lexical; otherwise calls `beyond`.

    A call of the scorer costs the router some 2 ms of CPU, and as much there (`make bench-scaling`). 2,000 characters
    of up to five answers take chrf 2.7 ms and every other lexical signal about 1 ms or less; options such as a high
    `char_order` take longer.
    """

    def __init__(self, signals: Mapping[str, SignalConfig], beyond: Scorer, max_characters: int) -> None:
        lexical = {name: config for name, config in signals.items() if not config.needs_weights}
        # Built now, because imports during a request would delay other requests.
        self._lexical = {name: build_signal(config) for name, config in lexical.items()} if max_characters else {}
        self._beyond = beyond
        self._max_characters = max_characters

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        if signal not in self._lexical or sum(map(len, texts)) > self._max_characters:
            return await self._beyond.score(signal, texts, since)
        try:
            [scores] = score_batch(self._lexical[signal], [Texts(texts, since)])
        except CascadeError:
            raise
        except Exception as error:  # any failure is a reason to defer, as with the remote scorer
            logger.warning("Scoring by %r failed: %r", signal, error)
            raise SignalError("The scorer failed.") from error
        return scores
