"""Recorded answers, cut into tokens and to what a request allows. The replay engine plays them."""

import json
import math
import re
from dataclasses import dataclass, replace
from typing import Self

from pydantic import Field, model_validator

from serve_app.core.tools import NamedTool
from serve_app.core.types.answer import Delta, FinishReason, Generation, TokenLogprob
from serve_app.core.types.prompt import Prompt, Sampling, ToolCall
from serve_app.engines.base import Settings
from serve_app.engines.running.stopping import StopMatcher, within


class RecordedCall(Settings):
    """A call of a tool; `arguments` is JSON. Without an `id` the calls are named `call_1`, `call_2`, ..."""

    name: str = Field(description="The tool's name.")
    arguments: str = Field(default="{}", description="JSON.")
    id: str | None = Field(default=None, description="Default: call_1, call_2, ...")


class RecordedAnswer(Settings):
    """What a model answered, or the `error` that it failed with. Token counts not given are counted in words."""

    text: str = Field(default="", description="The answer's text.")
    reasoning: str = Field(default="", description="The thoughts before it.")
    tool_calls: tuple[RecordedCall, ...] = Field(default=(), description="The answer's calls of tools.")
    finish_reason: FinishReason | None = Field(default=None, description="Default: tool_calls with calls, else stop.")
    prompt_tokens: int | None = Field(default=None, ge=0, description="Default: the prompt's words.")
    completion_tokens: int | None = Field(default=None, ge=0, description="Default: the answer's words.")
    estimated: bool = Field(default=False, description="Whether nobody counted the tokens.")
    logprobs: tuple[tuple[str, float], ...] | None = Field(
        default=None, description="[token, natural-log probability at temperature 1] for each token."
    )
    error: str | None = Field(default=None, min_length=1, description="Fail with this sentence instead.")

    @model_validator(mode="after")
    def _answer_or_error(self) -> Self:
        if (bool({"text", "reasoning"} & self.model_fields_set) or bool(self.tool_calls)) == (self.error is not None):
            raise ValueError("an answer has a text, reasoning or tool calls; or else an error")
        return self

    def fits(self, prompt: Prompt) -> bool:
        """Return whether it honours the request's tools and response format. An error fits any request.

        Calls must be of the request's tools, or of the one it names. A text under a response format must be a JSON
        object; it is not validated against a schema.
        """
        if self.error is not None:
            return True
        names = {tool.name for tool in prompt.tools}
        if isinstance(prompt.tool_choice, NamedTool):
            names = {prompt.tool_choice.name}
        if self.tool_calls:
            return all(call.name in names for call in self.tool_calls)
        if prompt.tool_choice not in (None, "auto"):
            return False
        return prompt.response_format is None or _is_object(self.text)

    def calls(self) -> tuple[ToolCall, ...]:
        """Return the calls, all with an id."""
        return tuple(
            ToolCall(call.id or f"call_{number}", call.name, call.arguments)
            for number, call in enumerate(self.tool_calls, 1)
        )


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Take:
    """One playing of a tape, cut to what the request allows. `shown[i]` is the text that token i brings out.

    The first `thoughts` of them are the reasoning. A call's tokens bring out none; calls that are cut are left out.
    """

    shown: tuple[str, ...]
    text: str
    finish_reason: FinishReason
    completion_tokens: int
    logprobs: tuple[TokenLogprob, ...] | None
    tool_calls: tuple[ToolCall, ...] = ()
    thoughts: int = 0
    estimated: bool = False

    def counted(self, tokens: int) -> int:
        """Return the completion tokens after so many of ours: a recorded count is spread evenly over them."""
        return math.ceil(tokens * self.completion_tokens / len(self.shown)) if self.shown else self.completion_tokens

    def generation(self, prompt_tokens: int, latency_s: float, first_token_s: float) -> Generation:
        """Return the whole answer."""
        return Generation(
            text=self.text,
            finish_reason=self.finish_reason,
            prompt_tokens=prompt_tokens,
            completion_tokens=self.completion_tokens,
            logprobs=self.logprobs,
            latency_s=latency_s,
            first_token_s=first_token_s if self.completion_tokens else None,
            tool_calls=self.tool_calls,
            estimated=self.estimated,
            reasoning="".join(self.shown[: self.thoughts]),
            reasoning_tokens=self.counted(self.thoughts) if self.thoughts else 0,
        )

    def thinking_at_most(self, tokens: int | None) -> "Take":
        """Return the same with so many of our tokens of reasoning."""
        if tokens is None or tokens >= self.thoughts:
            return self
        shown = self.shown[:tokens] + self.shown[self.thoughts :]
        return replace(self, shown=shown, completion_tokens=self.counted(len(shown)), thoughts=tokens)

    def truncated(self, tokens: int) -> "Take":
        """Return the beginning that has so many of the counted tokens, of which there are more."""
        count = math.ceil(len(self.shown) * tokens / self.completion_tokens)
        shown, thoughts = self.shown[:count], min(count, self.thoughts)
        return Take(shown, "".join(shown[thoughts:]), "length", tokens, None, (), thoughts, self.estimated)

    def delta(self, index: int, prompt_tokens: int) -> Delta | None:
        """Return what token `index` brings out, or None."""
        piece, counts = self.shown[index], (prompt_tokens, self.counted(index + 1))
        if not piece:
            return None
        return Delta("", *counts, reasoning=piece) if index < self.thoughts else Delta(piece, *counts)


@dataclass(frozen=True, slots=True)
class Tape:
    """An answer made ready to play: `whole` if nothing is cut and no log-probabilities are requested."""

    answer: RecordedAnswer
    whole: Take
    logprobs: tuple[TokenLogprob, ...] | None
    first_token_s: float
    token_s: float

    def take(self, sampling: Sampling, room: int) -> Take:
        """Cut the answer to `max_tokens`, to the `room` (in tokens) that the context leaves, and at stop strings.

        Its thoughts are cut to their own limit.
        """
        limit = room if sampling.max_tokens is None else min(room, sampling.max_tokens)
        whole = self.whole.thinking_at_most(sampling.max_reasoning_tokens)
        fits = whole.completion_tokens <= limit
        logprobs = self.logprobs if sampling.logprobs else None
        if fits and not sampling.stop:
            return whole if logprobs is None else replace(whole, logprobs=logprobs)
        take = _stopped(whole if fits else whole.truncated(limit), sampling.stop)
        is_cut = len(take.text) < len(whole.text)
        return replace(take, logprobs=within(take.text, logprobs) if logprobs and is_cut else logprobs)


def make_tape(answer: RecordedAnswer, first_token_s: float, token_s: float) -> Tape:
    """Divide an answer into tokens: those of its log-probabilities if they join to the text, else words."""
    logprobs = None if answer.logprobs is None else tuple(TokenLogprob(*entry) for entry in answer.logprobs)
    tokens = tuple(entry.token for entry in logprobs or ())
    if "".join(tokens) != answer.text:
        tokens = _split(answer.text)
    thoughts = _split(answer.reasoning)
    tokens = thoughts + tokens
    calls = answer.calls()
    tokens += ("",) * sum(len(_split(f"{call.name} {call.arguments}")) for call in calls)
    count = len(tokens) if answer.completion_tokens is None else answer.completion_tokens
    finish = answer.finish_reason or ("tool_calls" if calls else "stop")
    whole = Take(tokens, answer.text, finish, count, None, calls, len(thoughts), answer.estimated)
    return Tape(answer, whole, logprobs, first_token_s, token_s)


def _stopped(take: Take, stops: tuple[str, ...]) -> Take:
    """Cut the take at the first stop string, which is left out; its tokens count."""
    matcher, thoughts = StopMatcher(stops), take.thoughts
    shown = list(take.shown[:thoughts])
    for token in take.shown[thoughts:]:
        shown.append(matcher.feed(token))
        if matcher.stopped:
            text, count = "".join(shown[thoughts:]), take.counted(len(shown))
            return Take(tuple(shown), text, "stop", count, None, (), thoughts, take.estimated)
    if len(shown) > thoughts:
        shown[-1] += matcher.flush()
    return replace(take, shown=tuple(shown))


def _split(text: str) -> tuple[str, ...]:
    """Split into words with the space before them, the last one with the space after it too."""
    return tuple(re.findall(r"\s*\S+(?:\s+\Z)?", text)) or ((text,) if text else ())
