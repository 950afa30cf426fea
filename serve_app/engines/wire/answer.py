"""An answer in OpenAI's JSON, chunk by chunk."""

import math
import time
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from serve_app.core.cost import BYTES_PER_TOKEN, estimated_prompt_tokens
from serve_app.core.text.characters import utf8, whole
from serve_app.core.types.answer import Delta, FinishReason, Generation, TokenLogprob
from serve_app.core.types.prompt import Prompt, ToolCall
from serve_app.engines.base import Meter
from serve_app.engines.running.stopping import begin_within
from serve_app.engines.running.thinking import (
    Pieces,
    ThoughtSplitter,
    without_thoughts,
)
from serve_app.engines.wire.characters import Joiner
from serve_app.engines.wire.dialect import Dialect
from serve_app.engines.wire.errors import refusal, unreadable
from serve_app.engines.wire.usage import token_counts
from serve_app.errors import EngineError

FINISH_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
"""Finish reasons other than the model's own stop, for which endpoints have several words, some in capitals."""
BROKEN = ("content_filter", "safety", "recitation", "abort", "error")
"""Finish reasons that make an answer a failure: the model did not choose where it ends."""
LEAST_LOGPROB = -9999.0
"""What OpenAI and vLLM write for minus infinity, which JSON does not have."""


@dataclass(slots=True)
class _PartialCall:
    id: str = ""
    name: str = ""
    arguments: str = ""

    def whole(self) -> ToolCall:
        """Return the call. Its id is made up if the endpoint sent none: the call's result must name one."""
        return ToolCall(whole(self.id) or f"call_{token_hex(12)}", whole(self.name), whole(self.arguments))


class Reading:
    """An answer as it arrives. Until the endpoint reports token counts, the meter has an estimate on the high side.

    `read` takes chunks of a stream, or a whole response as the only one.
    """

    def __init__(self, dialect: Dialect, prompt: Prompt, meter: Meter) -> None:
        self.begun = False
        self._dialect = dialect
        self._stops = prompt.sampling.stop
        self._meter = meter
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._text_half, self._thought_half = Joiner(), Joiner()
        self._splitter = ThoughtSplitter(None if prompt.text is not None else dialect.reasoning)
        self._reasoning_tokens = 0
        self._calls: list[_PartialCall] = []
        self._calls_by_index: dict[int | str, _PartialCall] = {}
        self._logprobs: list[TokenLogprob] | None = [] if prompt.sampling.logprobs else None
        self._alternatives = prompt.sampling.top_logprobs
        self._tokens: list[bytes] = []
        self._finish: str | None = None
        self._pieces = self._bytes = self._call_bytes = 0
        self._started = time.perf_counter()
        self._first_token: float | None = None
        meter.prompt_tokens, meter.estimated = estimated_prompt_tokens(prompt), True

    def read(self, chunk: dict[str, Any]) -> Delta | None:
        """Consume a chunk and return the text it adds, or None.

        Raises EngineError if the chunk is malformed or carries an error.
        """
        if error_body := chunk.get("error"):
            raise refusal(self._dialect, error_body)
        self.begun = True
        try:
            return self._read(chunk)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise unreadable(self._dialect) from error

    def _read(self, chunk: dict[str, Any]) -> Delta | None:
        text = thought = ""
        for choice in (chunk.get("choices") or [])[:1]:
            delta = choice.get("delta") or choice.get("message") or {}
            content, inner = _parts(delta.get("content"))
            text = choice.get("text") or content or delta.get("refusal") or ""
            thought = _string(delta.get("reasoning_content") or delta.get("reasoning")) or inner
            calls = [*(delta.get("tool_calls") or []), *_old_call(delta)]
            for call in calls:
                self._add(call)
            self._add_logprobs(choice.get("logprobs") or {})
            called = "".join(map(str, calls))
            self._call_bytes += _size(called)
            self._count(text, thought, called)
            self._finish = _string(choice.get("finish_reason")).lower() or self._finish
        pieces = self._split(text, thought)
        self._read_usage(chunk.get("usage"))
        self._thoughts.append(pieces.reasoning)
        self._texts.append(pieces.text)
        return Delta(pieces.text, *self._counted(), reasoning=pieces.reasoning) if any(pieces) else None

    def _split(self, text: str, thought: str) -> Pieces:
        """Return what a chunk adds to the thoughts, whichever way the endpoint sends them, and to the text."""
        if thought and not any(self._texts):
            self._splitter.plain()
        is_last = self._finish is not None
        thought = self._thought_half.join(thought, is_last)
        pieces = self._splitter.feed(self._text_half.join(text, is_last))
        remainder = self._splitter.flush() if is_last else Pieces("", "")
        return Pieces(thought + pieces.reasoning + remainder.reasoning, pieces.text + remainder.text)

    def _read_usage(self, usage: Any) -> None:
        """Read token counts if they are valid; otherwise keep the estimate."""
        if (counts := token_counts(usage)) is not None:
            self._meter.prompt_tokens, self._meter.completion_tokens, self._reasoning_tokens = counts
            self._meter.estimated = False

    def _counted(self) -> tuple[int, int, bool]:
        return self._meter.prompt_tokens, self._meter.completion_tokens, self._meter.estimated

    def _count(self, *pieces: str) -> None:
        """Count a chunk as a token, or as several if it is long: most endpoints send one for each token."""
        size = sum(map(_size, pieces))
        if not size:
            return
        self._pieces += 1
        self._bytes += size
        self._first_token = self._first_token or time.perf_counter()
        self._meter.completion_tokens = max(self._pieces, math.ceil(self._bytes / BYTES_PER_TOKEN))
        self._meter.estimated = True

    def _add(self, call: dict[str, Any]) -> None:
        """Add a piece of a tool call. Some endpoints send whole calls, without an index or all with the same."""
        index, function = call.get("index"), call.get("function") or {}
        id_, name = _string(call.get("id")), _string(function.get("name"))
        partial = None if index is None else self._calls_by_index.get(index)
        # A name, too, makes it another call: some endpoints make up an id for each piece.
        if partial is None or (partial.id and id_ not in ("", partial.id) and name):
            partial = _PartialCall()
            self._calls.append(partial)
            if index is not None:
                self._calls_by_index[index] = partial
        partial.id = partial.id or id_
        partial.name = partial.name or name
        partial.arguments += _string(function.get("arguments"))

    def _add_logprobs(self, logprobs: dict[str, Any]) -> None:
        if self._logprobs is None:
            return
        for entry in logprobs.get("content") or []:
            top = (entry.get("top_logprobs") or [])[: self._alternatives]
            alternatives = tuple(_token_logprob(alternative["token"], alternative["logprob"]) for alternative in top)
            self._logprobs.append(_token_logprob(entry["token"], entry["logprob"], alternatives))
            utf8_bytes = entry.get("bytes")
            self._tokens.append(bytes(utf8_bytes) if isinstance(utf8_bytes, list) else utf8(entry["token"]))
        # The older form, of raw completions.
        for token, logprob in zip(logprobs.get("tokens") or [], logprobs.get("token_logprobs") or [], strict=True):
            self._logprobs.append(_token_logprob(token, logprob))
            self._tokens.append(utf8(token))

    def generation(self) -> Generation:
        """Return the whole answer. Raises EngineError if it broke off, was cut off, or lacks its log-probabilities."""
        if self._finish is None:
            raise EngineError(f"The answer of the model {self._dialect} broke off.")
        if self._finish in BROKEN:
            raise EngineError(f"The answer of the model {self._dialect} was cut off by the endpoint ({self._finish}).")
        text, reasoning = "".join(self._texts), "".join(self._thoughts)
        if text and self._logprobs == []:
            raise EngineError(
                f"The model {self._dialect} sent no log-probabilities, though its config says logprobs: true."
            )
        prompt_tokens, completion_tokens, estimated = self._counted()
        now = time.perf_counter()
        return Generation(
            text,
            FINISH_REASONS.get(self._finish, "tool_calls" if self._calls else "stop"),
            prompt_tokens,
            completion_tokens,
            None if self._logprobs is None else self._logprobs_of(text, reasoning, self._logprobs),
            now - self._started,
            self._first_token_s(completion_tokens),
            tuple(call.whole() for call in self._calls),
            estimated,
            reasoning,
            self._count_reasoning(reasoning, text, completion_tokens),
        )

    def _count_reasoning(self, reasoning: str, text: str, tokens: int) -> int:
        """Return the tokens of the thoughts as the endpoint counts them, which may hide their text, or their share."""
        thought_bytes = _size(reasoning)
        all_bytes = thought_bytes + _size(text) + self._call_bytes
        return self._reasoning_tokens or (round(tokens * thought_bytes / all_bytes) if all_bytes else 0)

    def _first_token_s(self, tokens: int) -> float | None:
        """Return the seconds to the first token, or None if it came in one piece with others."""
        whole = self._pieces < 2 and tokens > 1
        return None if whole or self._first_token is None else self._first_token - self._started

    def _logprobs_of(self, text: str, reasoning: str, logprobs: list[TokenLogprob]) -> tuple[TokenLogprob, ...]:
        """Drop the tokens of thoughts and of a stop string; a call's tokens are not text."""
        begin = without_thoughts(self._tokens, reasoning, text, self._dialect.reasoning)
        sizes = [len(token) for token in self._tokens[begin:]]
        end = _size(text)
        is_cut = self._stops and not self._calls and end < sum(sizes)
        return tuple(logprobs[begin : begin + begin_within(end, sizes)] if is_cut else logprobs[begin:])


def _parts(content: Any) -> tuple[str, str]:
    """Return the text and the thoughts of a content, which some endpoints send as a list of parts."""
    if not isinstance(content, list):
        return content or "", ""
    text = "".join(_string(part.get("text")) for part in content)
    thoughts = "".join(_parts(part.get("thinking"))[0] for part in content)
    return text, thoughts


def _old_call(delta: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the call of a `function_call`, the form before `tool_calls`, which had one call and no ids."""
    function = delta.get("function_call")
    return [{"index": "function_call", "function": function}] if function else []


def _string(value: Any) -> str:
    """Return the string; null counts as empty. Raises TypeError for anything else."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"a string was expected, not {type(value).__name__}")
    return value or ""


def _size(text: str) -> int:
    """Return the length in bytes of UTF-8."""
    return len(utf8(text))


def _token_logprob(token: Any, logprob: Any, alternatives: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
    """Return an entry with a finite log-probability. Raises TypeError or ValueError if it is malformed."""
    if not isinstance(token, str) or not isinstance(logprob, int | float):
        raise TypeError("a token and a number were expected")
    if math.isnan(logprob):
        raise ValueError("a log-probability was expected, not NaN")
    return TokenLogprob(whole(token), min(0.0, max(LEAST_LOGPROB, float(logprob))), alternatives)
