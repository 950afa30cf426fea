"""What a model answers, or why it does not. Frozen: it crosses processes and is compared in tests."""

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from serve_app.core.text.characters import whole
from serve_app.core.types.prompt import ToolCall

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls"]

FailureKind: TypeAlias = Literal[
    "error",
    "timeout",
    "cancelled",
    "context_length",
    "unavailable",
    "refused",  # the request asks for something that the model cannot do: no other model is asked
    "rate_limited",  # the model, or its endpoint, takes no more requests for now
    "unaffordable",  # not asked: the request's budget is too small
    "invalid_output",  # the answer breaks the schema that the request demands
]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token and its natural-log probability at temperature 1.

    `alternatives` are the likeliest tokens in its place, itself often among them, if the request asked for them.
    """

    token: str
    logprob: float
    alternatives: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a streamed answer: text, or `reasoning` before it, or both.

    The token counts are totals so far, so that a stream cut short can be charged; `estimated` is set until somebody has
    counted them.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """A model's whole answer. Latencies in seconds, measured at the engine (without network and queue before it).

    `estimated` is set if nobody counted the tokens, as with an API that does not report them. `reasoning` is what the
    model wrote to itself before the text: it is never compared; `reasoning_tokens` of the `completion_tokens` are its.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    logprobs: tuple[TokenLogprob, ...] | None = None
    latency_s: float = 0.0
    first_token_s: float | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    estimated: bool = False
    reasoning: str = ""
    reasoning_tokens: int = 0

    @property
    def empty(self) -> bool:
        """Return whether there is nothing to return: no text, but perhaps blanks, and no tool call."""
        return not (self.tool_calls or self.text.strip())

    @property
    def compared(self) -> str:
        """Return what signals compare without a view: the text, or the tool calls as JSON (name, arguments, no ids)."""
        if not self.tool_calls:
            return self.text
        try:
            return _canonical([(call.name, _parsed(call.arguments)) for call in self.tool_calls])
        except RecursionError:  # nested deeper than the stack
            return _canonical([(call.name, call.arguments) for call in self.tool_calls])


def _canonical(calls: list[tuple[str, Any]]) -> str:
    values = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return whole(json.dumps(values, ensure_ascii=False, sort_keys=True))


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


@dataclass(frozen=True, slots=True)
class Failure:
    """A model call without an answer. Its tokens were spent all the same; `estimated` is set if nobody counted them.

    `uncounted` asks the cascade to estimate them, because the model's own counts were lost. `param` is the request's
    field that a refusal is about; `retry_after_s` is when a rate-limited model may be asked again.
    """

    kind: FailureKind
    message: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_s: float = 0.0
    estimated: bool = False
    uncounted: bool = False
    param: str | None = None
    retry_after_s: float | None = None


Answer: TypeAlias = Generation | Failure
