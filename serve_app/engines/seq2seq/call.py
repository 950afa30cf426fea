"""One request inside the seq2seq engine: what it asks for, and its answer as it grows."""

import math
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from serve_app.core.types.answer import Delta, FinishReason, Generation, TokenLogprob
from serve_app.core.types.prompt import Prompt
from serve_app.engines.base import Meter
from serve_app.engines.running.stopping import StopMatcher, within
from serve_app.engines.seq2seq.batch import Choice
from serve_app.errors import EngineError


class Call:
    """A row of the batch. The event loop sets `cancelled`; all else is the decoding thread's until the call ends."""

    def __init__(
        self,
        prompt: Prompt,
        meter: Meter,
        *,
        max_tokens: int,
        temperature: float,
        top_p: float,
        seed: int | None,
        on_delta: Callable[[Delta], object] | None = None,
    ) -> None:
        self.prompt = prompt
        self.meter = meter
        self.temperature = temperature
        self.top_p = top_p
        self.random = Random(seed)
        self.cancelled = False
        self.error: EngineError | None = None
        self.finish: FinishReason | None = None
        self.ids: list[int] = []  # the prompt's, once it is tokenised
        self.last = -1  # the token that the decoder reads next
        self._max_tokens = max_tokens
        self._on_delta = on_delta
        self._stops = StopMatcher(prompt.sampling.stop)
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] | None = [] if prompt.sampling.logprobs else None
        self._detokeniser: Detokeniser | None = None
        self._started = self._first_token = self._ended = 0.0

    def admit(self) -> None:
        """Start the clock, now that the call has its slot: latencies exclude queueing."""
        self._started = self._first_token = self._ended = time.perf_counter()

    @property
    def over(self) -> bool:
        """Return whether it needs no more decoding."""
        return self.cancelled or self.finish is not None or self.error is not None

    def begin(self, tokenizer: Any) -> None:
        """Charge the whole prompt, which is being read."""
        self._detokeniser = Detokeniser(tokenizer)
        self.meter.prompt_tokens = len(self.ids)

    def take(self, choice: Choice, end_tokens: frozenset[int]) -> None:
        """Take the next token. The end token counts, but adds no text and no log-probability to the answer."""
        assert self._detokeniser is not None
        if not math.isfinite(choice.logprob):
            self.error = EngineError("The model gave numbers that are not finite; try dtype bfloat16 or float32.")
            return
        self.last = choice.token
        self.meter.completion_tokens += 1
        self._ended = time.perf_counter()
        if self.meter.completion_tokens == 1:
            self._first_token = self._ended
        if choice.token in end_tokens:
            self._end("stop")
            return
        piece = self._detokeniser.feed(choice.token)
        if self._logprobs is not None:
            self._logprobs.append(TokenLogprob(piece, min(0.0, choice.logprob)))
        self._show(self._stops.feed(piece))
        if self._stops.stopped:
            self.finish = "stop"
        elif self.meter.completion_tokens >= self._max_tokens:
            self._end("length")

    def generation(self) -> Generation:
        """Return the whole answer, once it has ended."""
        assert self.finish is not None
        text = "".join(self._texts)
        logprobs = self._logprobs
        if logprobs is not None and self._stops.stopped:
            logprobs = list(within(text, logprobs))
        return Generation(
            text=text,
            finish_reason=self.finish,
            prompt_tokens=self.meter.prompt_tokens,
            completion_tokens=self.meter.completion_tokens,
            logprobs=None if logprobs is None else tuple(logprobs),
            latency_s=self._ended - self._started,
            first_token_s=self._first_token - self._started,
        )

    def _end(self, reason: FinishReason) -> None:
        self.finish = reason
        self._show(self._stops.flush())

    def _show(self, text: str) -> None:
        if text:
            self._texts.append(text)
            if self._on_delta:
                self._on_delta(Delta(text, self.meter.prompt_tokens, self.meter.completion_tokens))


class Detokeniser:
    """Text of the tokens, as they come. The pieces join to what the tokeniser makes of all tokens at once.

    A token's text depends on those before it: SentencePiece drops the space at the very beginning, and a character may
    be made of several tokens. So each is read behind the last ones that gave text, and kept back while it ends in half
    a character; at the end of an answer such a half is dropped.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []  # from the last tokens that gave text on
        self._shown = 0  # of these, those whose text is out

    def feed(self, token: int) -> str:
        """Return the text that this token adds; empty if it is special, or half a character."""
        self._ids.append(token)
        before, now = self._text(self._ids[: self._shown]), self._text(self._ids)
        if len(now) <= len(before) or now.endswith("\ufffd"):
            return ""
        self._ids = self._ids[self._shown :]
        self._shown = len(self._ids)
        return now[len(before) :]

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
