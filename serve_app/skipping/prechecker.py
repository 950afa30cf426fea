"""The precheck of a running server: the prompt is embedded, and past requests like it are looked up."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from serve_app.config import AppConfig
from serve_app.core.deciding.skip import asked_text
from serve_app.core.types.outcome import Precheck
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt
from serve_app.core.types.scores import Embedding
from serve_app.errors import SignalError
from serve_app.skipping.fitted import PROBE, Fitted
from serve_app.skipping.lookup import Lookup

logger = logging.getLogger("ray.serve")

EmbedPrompt: TypeAlias = Callable[[str, Sequence[str], float], Awaitable[list[Embedding]]]
"""The vectors of texts by an encoder's name, within so many seconds. Raises SignalError."""
Embed: TypeAlias = Callable[[str, Sequence[str]], Awaitable[list[Embedding]]]
"""The same without hurry."""


class PastRequests:
    """The past requests of one cascade.

    The first request has the encoder tested, in the background, which also warms it up; nothing is skipped before it
    has proved to be the one of the file.
    """

    def __init__(self, config: AppConfig, cascade: str, embed_prompt: EmbedPrompt, embed: Embed) -> None:
        skip, policy = config.cascades[cascade].skip, config.cascades[cascade].skip_policy()
        assert skip is not None
        assert policy is not None
        self._cascade = cascade
        self._fitted = Fitted.load(config, cascade)
        self._policy = policy
        self._lookup = Lookup(self._fitted)
        self._encoder = skip.encoder
        self._timeout_s = skip.timeout_s
        self._embed_prompt = embed_prompt
        self._embed = embed
        self._same_encoder: bool | None = None
        self._test: asyncio.Task[None] | None = None

    async def check(self, text: str, thresholds: Sequence[float]) -> Precheck:
        """Return what past requests like the text say under these thresholds. Never raises."""
        if self._same_encoder is None and (self._test is None or self._test.done()):
            self._test = asyncio.create_task(self._test_encoder())
        if not self._same_encoder:
            return Precheck(None, failed=True)
        try:
            [embedding] = await self._embed_prompt(self._encoder, [text], self._timeout_s)
        except SignalError:
            return Precheck(None, failed=True)
        # In a thread: of 100,000 past requests it takes 10 ms, in which no other request would go on.
        precheck = await asyncio.to_thread(self._looked_up, vector_of(embedding), thresholds)
        return replace(precheck, flops=embedding.flops)

    async def _test_encoder(self) -> None:
        """Compare the vector of a fixed sentence with that of the file; if there is none, the next request tests it."""
        try:
            [probe] = await self._embed(self._encoder, [PROBE])
        except SignalError as error:
            logger.warning("Cascade %r skips nothing yet: %s", self._cascade, error)
            return
        self._same_encoder = self._fitted.is_of(vector_of(probe))
        if not self._same_encoder:
            logger.error(
                "Cascade %r skips nothing: the encoder %r is not the one that its file was fitted with.",
                self._cascade,
                self._encoder,
            )

    def _looked_up(self, vector: npt.NDArray[np.float32], thresholds: Sequence[float]) -> Precheck:
        [neighbours] = self._lookup.nearest(vector[np.newaxis], self._policy.k)
        return self._lookup.check(self._policy, neighbours, thresholds)


@dataclass(frozen=True, slots=True)
class CascadePrechecker:
    """The core's `Prechecker` for one request: the cascade's past requests, under the thresholds in force."""

    cascade: str
    thresholds: tuple[float, ...]
    past: PastRequests = field(compare=False)

    async def check(self, prompt: Prompt) -> Precheck:
        text = asked_text(prompt)
        return Precheck(None) if text is None else await self.past.check(text, self.thresholds)


class Prechecks:
    """The prechecks of all cascades that say `skip`. Raises ConfigError if one of their files cannot be used."""

    def __init__(self, config: AppConfig, embed_prompt: EmbedPrompt, embed: Embed) -> None:
        self._past = {
            id_: PastRequests(config, id_, embed_prompt, embed)
            for id_, cascade in config.cascades.items()
            if cascade.skip is not None
        }

    def of(self, cascade: str, tiers: Sequence[Tier]) -> CascadePrechecker | None:
        """Return the precheck of a request to a cascade with these tiers, or None if there is none."""
        if cascade not in self._past:
            return None
        return CascadePrechecker(cascade, tuple(tier.threshold for tier in tiers[:-1]), self._past[cascade])


def vector_of(embedding: Embedding) -> npt.NDArray[np.float32]:
    """Return the vector of an embedding, shape (d,)."""
    return np.frombuffer(embedding.vector, dtype="<f4").astype(np.float32)
