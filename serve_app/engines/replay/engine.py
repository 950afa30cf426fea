"""Recorded or scripted answers with a latency model, and no weights: for tests, load tests and demonstrations.

An answer is looked up by the prompt's text: the last user message, or the raw text. The first scripted answer whose
`contains` occurs in it wins, then the record with that very prompt, then `default`. `temperature`, `top_p` and `seed`
have no effect: what was recorded comes back as it was. An answer that does not honour the request is passed over: one
that calls tools which the request lacks, one without a call if one is required, or, under a response format, one that
is not a JSON object (schemas are not checked).

With `recorded_model`, `records` is a file that `cascade collect` or `cascade import` wrote, and every prompt that this
model was asked in it gets the answer that it gave, if the whole conversation is the same; any other is refused, unless
there is a `default`. A sample of the model gets the answers recorded of that sample (`NAME#2`), if there are any.
Otherwise `records` is a file of JSON Lines (or `.gz`), one answer each; only `prompt` and `text` (or `tool_calls` or
`error`) are required, and of several records of one prompt the last counts:

    {"prompt": "Capital of France?", "text": "Paris.", "finish_reason": "stop", "prompt_tokens": 12,
     "completion_tokens": 3, "logprobs": [["Paris", -0.1], [".", -0.2]]}

Tokens are those of `logprobs` if they join to the text, else words with the space around them. `reasoning` is played
before the text.

Time is either fixed (`first_token_s`, `token_s`) or that of a GPU with continuous batching (`batching`), whose tokens
take the longer the more requests run. `synthetic` makes answers up that agree on a chosen share of prompts.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from serve_app.core.types.answer import Delta, Generation
from serve_app.core.types.prompt import Prompt
from serve_app.engines.base import EngineCounters, Meter
from serve_app.engines.replay.config import ReplayConfig, ScriptedAnswer
from serve_app.engines.replay.gpu_model import Sequence
from serve_app.engines.replay.live_batch import LiveBatch
from serve_app.engines.replay.recorded import Recorded, conversation, read_records
from serve_app.engines.replay.tape import RecordedAnswer, Take, Tape, make_tape
from serve_app.engines.running.slots import CLOSED, Slots
from serve_app.errors import ContextTooLongError, EngineError, UnsupportedRequestError

TICK_S = 0.02
"""Seconds between two updates of the meter in `generate`."""


class ReplayEngine:
    """Plays answers back. Without latencies `generate` needs no slot and never yields to the event loop."""

    def __init__(self, config: ReplayConfig, records: Recorded) -> None:
        self._context_tokens = config.context_tokens
        self._scripted = [(answer.contains, _scripted(config, answer)) for answer in config.answers]
        self._recorded = {
            sample: {key: _tape(config, record) for key, record in answers.items()}
            for sample, answers in records.items()
        }
        self._default = None if config.default is None else _tape(config, RecordedAnswer(text=config.default))
        self._synthetic = config.synthetic
        # All models of such a fleet know the same prompts, so that asking another one would not help.
        self._unknown = EngineError if config.recorded_model is None else UnsupportedRequestError
        self._first_token_s, self._token_s = config.first_token_s, config.token_s
        self._batch = None if config.batching is None else LiveBatch(config.batching, config.slots)
        self._slots = Slots(config.slots)

    @classmethod
    async def load(cls, config: ReplayConfig, weights: Path | None = None) -> "ReplayEngine":
        """Read the records; there are no weights. Raises `EngineError` if a record cannot be read."""
        records: Recorded = {}
        if config.records is not None:
            records = await asyncio.to_thread(read_records, config.records, config.recorded_model)
        return cls(config, records)

    async def generate(self, prompt: Prompt, meter: Meter) -> Generation:
        tape, prompt_tokens, take = self._find(prompt)
        if self._batch is not None:
            return await self._batched(self._batch, tape, prompt_tokens, take, meter)
        if not (tape.first_token_s or tape.token_s):
            return self._at_once(tape, prompt_tokens, take, meter)
        async with self._slots.slot(meter):
            started = time.perf_counter()
            await self._begin(tape, prompt_tokens, meter)
            first = time.perf_counter()
            # Not a sleep for each token: that many timers would be the load test's own bottleneck.
            step = max(1, int(TICK_S / tape.token_s)) if tape.token_s else len(take.shown)
            for index in range(0, len(take.shown), max(1, step)):
                await self._slots.sleep(first + index * tape.token_s - time.perf_counter())
                meter.completion_tokens = take.counted(index + 1)
            await self._slots.sleep(first + (len(take.shown) - 1) * tape.token_s - time.perf_counter())
            meter.completion_tokens = take.completion_tokens
        return take.generation(prompt_tokens, time.perf_counter() - started, first - started)

    async def stream(self, prompt: Prompt, meter: Meter) -> AsyncGenerator[Delta | Generation, None]:
        tape, prompt_tokens, take = self._find(prompt)
        if self._batch is not None:
            async for item in self._stream_batched(self._batch, tape, prompt_tokens, take, meter):
                yield item
            return
        async with self._slots.slot(meter):
            started = time.perf_counter()
            await self._begin(tape, prompt_tokens, meter)
            first = time.perf_counter()
            for index in range(len(take.shown)):
                await self._slots.sleep(first + index * tape.token_s - time.perf_counter())
                meter.completion_tokens = take.counted(index + 1)
                if (delta := take.delta(index, meter.prompt_tokens)) is not None:
                    yield delta
            meter.completion_tokens = take.completion_tokens
        yield take.generation(prompt_tokens, time.perf_counter() - started, first - started)

    async def _batched(self, batch: LiveBatch, tape: Tape, prompt_tokens: int, take: Take, meter: Meter) -> Generation:
        with self._in_batch(batch, tape, prompt_tokens, take, meter) as sequence:
            await batch.wait(sequence)
        return _timed(take, prompt_tokens, sequence)

    async def _stream_batched(
        self, batch: LiveBatch, tape: Tape, prompt_tokens: int, take: Take, meter: Meter
    ) -> AsyncGenerator[Delta | Generation, None]:
        with self._in_batch(batch, tape, prompt_tokens, take, meter) as sequence:
            position, complete = 0, False
            while not complete:
                complete = await batch.wait(sequence, TICK_S)
                ready = len(take.shown) if complete else min(batch.generated(sequence), len(take.shown))
                for index in range(position, ready):
                    meter.completion_tokens = take.counted(index + 1)
                    if (delta := take.delta(index, meter.prompt_tokens)) is not None:
                        yield delta
                position = ready
        yield _timed(take, prompt_tokens, sequence)

    @contextmanager
    def _in_batch(
        self, batch: LiveBatch, tape: Tape, prompt_tokens: int, take: Take, meter: Meter
    ) -> Iterator[Sequence]:
        """Keep a request in the batch during the body. An answer that is an error takes a slot for one token."""
        with self._slots.counted(meter):
            sequence = batch.add(prompt_tokens, take.completion_tokens)
            try:
                yield sequence
            finally:
                tokens = batch.generated(sequence)
                batch.leave(sequence)
                # A prompt is charged whole once it has joined, even if given up halfway through it.
                meter.prompt_tokens = 0 if sequence.joined_step is None else prompt_tokens
                meter.completion_tokens = min(tokens, take.completion_tokens)
        if tape.answer.error is not None:
            raise EngineError(tape.answer.error)

    def counters(self) -> EngineCounters:
        counters = self._slots.counters()
        return counters if self._batch is None else replace(counters, active=self._batch.running)

    async def close(self) -> None:
        self._slots.close()
        if self._batch is not None:
            self._batch.close(CLOSED)

    def _find(self, prompt: Prompt) -> tuple[Tape, int, Take]:
        """Return the answer, the prompt's length in tokens, and the answer cut to what the request allows."""
        tape = self._lookup(prompt)
        prompt_tokens = tape.answer.prompt_tokens
        if prompt_tokens is None:
            prompt_tokens = _words(prompt)
        room = self._context_tokens - prompt_tokens
        if room <= 0:
            raise ContextTooLongError(prompt_tokens, self._context_tokens)
        return tape, prompt_tokens, tape.take(prompt.sampling, room)

    def _lookup(self, prompt: Prompt) -> Tape:
        key = _key(prompt)
        for contains, tape in self._scripted:
            if contains in key and tape.answer.fits(prompt):
                return tape
        for candidate in (*self._recordings(prompt, key), self._default):
            if candidate is not None and candidate.answer.fits(prompt):
                return candidate
        if self._synthetic is not None and (answer := self._synthetic.answer(key, prompt.sampling.sample)).fits(prompt):
            return make_tape(answer, self._first_token_s, self._token_s)
        raise self._unknown("The replay engine has no answer to this prompt, and no default.")

    def _recordings(self, prompt: Prompt, key: str) -> Iterator[Tape | None]:
        """Yield what was recorded: of a sample its own answers, if the records have any, else the model's."""
        recorded = self._recorded.get(prompt.sampling.sample, self._recorded.get(None, {}))
        yield recorded.get(conversation(prompt))
        yield recorded.get(key)

    def _at_once(self, tape: Tape, prompt_tokens: int, take: Take, meter: Meter) -> Generation:
        with self._slots.counted(meter):
            meter.prompt_tokens = prompt_tokens
            if tape.answer.error is not None:
                raise EngineError(tape.answer.error)
            meter.completion_tokens = take.completion_tokens
        return take.generation(prompt_tokens, 0.0, 0.0)

    async def _begin(self, tape: Tape, prompt_tokens: int, meter: Meter) -> None:
        """Wait for the first token. The prompt is charged whole, even if cancelled halfway."""
        meter.prompt_tokens = prompt_tokens
        await self._slots.sleep(tape.first_token_s)
        if tape.answer.error is not None:
            raise EngineError(tape.answer.error)


def _timed(take: Take, prompt_tokens: int, sequence: Sequence) -> Generation:
    """Return the answer with the batch's own times, waiting for a slot included."""
    assert sequence.first_token_s is not None
    assert sequence.finished_s is not None
    latency_s = sequence.finished_s - sequence.arrived_s
    return take.generation(prompt_tokens, latency_s, sequence.first_token_s - sequence.arrived_s)


def _tape(config: ReplayConfig, answer: RecordedAnswer) -> Tape:
    return make_tape(answer, config.first_token_s, config.token_s)


def _scripted(config: ReplayConfig, answer: ScriptedAnswer) -> Tape:
    first_token_s = config.first_token_s if answer.first_token_s is None else answer.first_token_s
    return make_tape(answer, first_token_s, config.token_s if answer.token_s is None else answer.token_s)


def _key(prompt: Prompt) -> str:
    if prompt.text is not None:
        return prompt.text
    return next((message.content for message in reversed(prompt.messages) if message.role == "user"), "")


def _words(prompt: Prompt) -> int:
    texts = [message.content for message in prompt.messages] if prompt.text is None else [prompt.text]
    return max(1, sum(len(text.split()) for text in texts))
