"""One request inside llama.cpp: the callback that reads its chunks, which `engine` describes."""

import json
import math
import time
from collections.abc import Callable
from typing import Any

from serve_app.core.types.answer import Delta, FinishReason, Generation, TokenLogprob
from serve_app.core.types.prompt import Prompt, ToolCall
from serve_app.engines.base import Meter
from serve_app.engines.llama_cpp.tools import CallReader
from serve_app.engines.running.stopping import StopMatcher, within
from serve_app.engines.running.thinking import Markers, Pieces, ThoughtSplitter, without_thoughts
from serve_app.errors import ContextTooLongError, EngineError, UnsupportedRequestError

OVERRUN_TOKENS = 16
"""Tokens by which thoughts may exceed their limit: their marks. llama.cpp should have ended them by then."""


class Call:
    """One request: its JSON body, and the callback that reads llama.cpp's chunks in the request's thread."""

    def __init__(
        self,
        body: dict[str, Any],
        prompt: Prompt,
        meter: Meter,
        batch_tokens: int,
        on_delta: Callable[[Delta], object] | None = None,
        markers: Markers | None = None,
    ) -> None:
        """Prepare one call. `markers` are those of the model's thoughts, with `begins_open` as for this prompt."""
        self.raw = prompt.text is not None
        self.body = json.dumps(body, ensure_ascii=False)
        self.grammar: str | None = body.get("grammar")
        self.grammar_field = "tools" if prompt.response_format is None else "response_format"
        self.cancelled = False  # set by the event loop, read by the thread
        self.error: Exception | None = None
        self.started = self.ended = 0.0
        self._batch_tokens = batch_tokens
        self._meter = meter
        self._on_delta = on_delta
        self._markers = None if self.raw else markers
        self._splitter = ThoughtSplitter(self._markers)
        self._thoughts: list[str] = []
        self._reasoning_tokens = 0
        limit = prompt.sampling.max_reasoning_tokens
        self._most_reasoning_tokens = None if limit is None else limit + OVERRUN_TOKENS
        self._cut = False
        self._stops = StopMatcher(prompt.sampling.stop)
        self._calls = CallReader(prompt.tools)
        self._tool_calls: tuple[ToolCall, ...] = ()
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] | None = [] if prompt.sampling.logprobs else None
        self._alternatives = prompt.sampling.top_logprobs
        self._finish: FinishReason | None = None
        self._first_token: float | None = None
        self._prompt_tokens = 0  # of the whole prompt, read or not

    def __call__(self, chunk: str) -> bool:
        """Read a chunk and return whether to stop decoding."""
        try:
            self._read(json.loads(chunk))
        except (EngineError, LookupError, RuntimeError, TypeError, ValueError) as error:
            self.error = error if isinstance(error, EngineError) else EngineError(f"llama.cpp sent {error!r}.")
            return True
        if self.cancelled and self._finish is None:
            self._charge_running_step()
            return True
        return self._stops.stopped or self._cut

    @property
    def finished(self) -> bool:
        """Return whether the answer is complete, not cut short."""
        return self._finish is not None

    def generation(self) -> Generation:
        """Return the whole answer, once the call has ended."""
        if self._finish is None:
            raise EngineError("llama.cpp ended without a finish reason.")
        text, reasoning = "".join(self._texts), "".join(self._thoughts)
        logprobs = self._logprobs
        if logprobs is not None:
            tokens = [entry.token.encode(errors="replace") for entry in logprobs]
            logprobs = logprobs[without_thoughts(tokens, reasoning, text, self._markers) :]
        if (
            logprobs is not None and not self._tool_calls
        ):  # a call's tokens are not text, but their log-probabilities are the confidence in the call
            logprobs = list(within(text, logprobs))
        return Generation(
            text=text,
            finish_reason=self._finish,
            prompt_tokens=self._meter.prompt_tokens,
            completion_tokens=self._meter.completion_tokens,
            logprobs=None if logprobs is None else tuple(logprobs),
            latency_s=self.ended - self.started,
            first_token_s=None if self._first_token is None else self._first_token - self.started,
            tool_calls=self._tool_calls,
            reasoning=reasoning,
            reasoning_tokens=self._reasoning_tokens if reasoning else 0,
        )

    def _read(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            raise _error(chunk["error"])
        self._count(chunk)
        for choice in chunk["choices"]:
            if self._logprobs is not None and choice.get("logprobs"):
                entries = choice["logprobs"]["content"]
                self._logprobs += [_token_logprob(entry, self._alternatives) for entry in entries]
            self._calls.take(() if self.raw else choice["delta"].get("tool_calls") or ())
            text = (choice["text"] if self.raw else choice["delta"].get("content")) or ""
            self._take(self._splitter.feed(text))
            if self._splitter.thinking:
                self._reasoning_tokens = self._meter.completion_tokens
                self._cut = self._reasoning_tokens > (self._most_reasoning_tokens or math.inf)
            if self._stops.stopped:
                self._end("stop")
            elif choice["finish_reason"] or self._cut:
                self._take(self._splitter.flush())
                self._show(self._calls.feed(self._stops.flush()))
                self._end("length" if self._cut or choice["finish_reason"] == "length" else "stop")

    def _take(self, pieces: Pieces) -> None:
        self._show(self._calls.feed(self._stops.feed(pieces.text)), pieces.reasoning)

    def _end(self, finish: FinishReason) -> None:
        text, self._tool_calls = self._calls.end()
        self._show(text)
        self._finish = "tool_calls" if self._tool_calls and finish == "stop" else finish

    def _count(self, chunk: dict[str, Any]) -> None:
        if progress := chunk.get("prompt_progress"):
            self._prompt_tokens = progress["total"]
            self._meter.prompt_tokens = progress["processed"]
        if timings := chunk.get("timings"):
            self._meter.prompt_tokens = timings["cache_n"] + timings["prompt_n"]
            self._meter.completion_tokens = timings["predicted_n"]
        if usage := chunk.get("usage"):
            self._meter.prompt_tokens = usage["prompt_tokens"]
            self._meter.completion_tokens = usage["completion_tokens"]
        if self._first_token is None and self._meter.completion_tokens:
            self._first_token = time.perf_counter()

    def _show(self, text: str, reasoning: str = "") -> None:
        if text or reasoning:
            self._texts.append(text)
            self._thoughts.append(reasoning)
            if self._on_delta:
                counts = self._meter.prompt_tokens, self._meter.completion_tokens
                self._on_delta(Delta(text, *counts, reasoning=reasoning))

    def _charge_running_step(self) -> None:
        """Charge the step that runs already when llama.cpp sees the cancellation.

        After a token that is one token more; after the prompt's last batch two, since it brought the first one along.
        On a starved machine this thread may lag a token or two behind llama.cpp, and those go uncharged.
        """
        if self._meter.prompt_tokens < self._prompt_tokens:
            self._meter.prompt_tokens = min(self._prompt_tokens, self._meter.prompt_tokens + self._batch_tokens)
        else:
            self._meter.completion_tokens = max(1, self._meter.completion_tokens) + 1


def _token_logprob(entry: dict[str, Any], alternatives: int) -> TokenLogprob:
    top = entry["top_logprobs"][:alternatives]
    return TokenLogprob(
        entry["token"],
        entry["logprob"],
        tuple(TokenLogprob(alternative["token"], alternative["logprob"]) for alternative in top),
    )


def _error(error: dict[str, Any]) -> EngineError:
    if error.get("type") == "exceed_context_size_error":
        return ContextTooLongError(error["n_prompt_tokens"], error["n_ctx"])
    message = f"llama.cpp refused the request: {error['message']}."
    return UnsupportedRequestError(message) if error.get("code") == 400 else EngineError(message)
