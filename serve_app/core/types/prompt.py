"""What a request asks of a model. Frozen: it crosses processes and is compared in tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from serve_app.core.tools import ResponseFormat, Tool, ToolChoice

ReasoningEffort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of one of the request's tools. `arguments` is JSON as the model wrote it, so it may be malformed."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a message: a `data:` URL that holds it, or an http(s) URL that the model's own server is to fetch.

    `detail` is how closely the model should look, in the words of the client.
    """

    url: str
    detail: str | None = None

    @property
    def remote(self) -> bool:
        """Return whether somebody must fetch it."""
        return not self.url.startswith("data:")


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message; an assistant's may call tools, a tool's (role `tool`) answers the call `tool_call_id`.

    A message with images has all of it, in order, in `parts`; `content` is then its text alone.
    """

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    parts: tuple[str | Image, ...] = ()

    @property
    def images(self) -> tuple[Image, ...]:
        """Return the images of the message."""
        return tuple(part for part in self.parts if isinstance(part, Image))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to decode. None leaves a value to the model's own configured default.

    `logit_bias` has pairs of a token's id and what is added to its logit. With `logprobs`, `top_logprobs` is how many
    of the likeliest tokens come beside each token of the answer. `sample` is the number, from 1, of one of several
    samples of the prompt: recorded answers are told apart by it, other models need not know.

    A model whose engine cannot honour a `reasoning_effort` (other than none, which leaves it as it is) or
    `max_reasoning_tokens` is never given it.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    top_logprobs: int = 0
    reasoning_effort: ReasoningEffort | None = None
    max_reasoning_tokens: int | None = None
    sample: int | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """Chat `messages`, or a raw `text` that no chat template touches: exactly one of the two.

    `timeout_s` is how long a model may work on it; after that the model returns a `Failure` of kind `timeout`. After
    `patience_s` its answer is no longer waited for: a model that is stopped then was late.
    A model whose engine cannot honour `tools`, `tool_choice`, `response_format` or images is never given them; without
    a tool choice the model may call or not. Without `parallel_tool_calls` an answer has one call at most. `trace` has
    the W3C Trace Context headers of the caller; engines that call a model over HTTP pass them on.
    """

    messages: tuple[Message, ...] = ()
    text: str | None = None
    sampling: Sampling = Sampling()
    timeout_s: float | None = None
    patience_s: float | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True
    response_format: ResponseFormat | None = None
    trace: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if (self.text is None) == (not self.messages):
            raise ValueError("A prompt has either messages or a text, not both and not neither.")
