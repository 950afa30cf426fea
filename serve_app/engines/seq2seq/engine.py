"""Encoder-decoder models (FLAN-T5, mT0, BART, ...) in this process, through transformers.

* Continuous batching: one thread decodes a token for every running request at a time, and requests join and leave in
  between. Models with absolute positions (BART, but not the T5 family) decode requests that began together in batches
  of their own.
* In float32 an answer does not depend on what it is batched with: greedy ones are those of `model.generate`. In 16 bits
  the rounding does depend on it, and so now and then a token.
* Greedy or sampled by temperature and top_p, each request with its own generator: beams, penalties and defaults of the
  checkpoint's generation_config.json have no effect.
* Log-probabilities are those of the raw logits: temperature and top_p do not touch them. The end token has none, though
  it counts as a completion token; of a character made of several tokens only the last has text.
* Prompt and answer do not share a window: `context_tokens` bounds each of them.
* A prompt is read in one go, and charged whole: cancelling takes effect after it.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from serve_app.core.types.answer import Delta
from serve_app.core.types.prompt import Prompt
from serve_app.engines.base import EngineCounters, Meter
from serve_app.engines.running.threaded import ThreadedEngine
from serve_app.engines.seq2seq.call import Call
from serve_app.engines.seq2seq.config import Seq2SeqConfig
from serve_app.engines.seq2seq.loop import DecodingLoop
from serve_app.engines.seq2seq.model import LoadedModel, load_model
from serve_app.errors import EngineError


class Seq2SeqEngine(ThreadedEngine[Call]):
    """One loaded encoder-decoder. Requests beyond the slots wait on our side, where cancelling them is free."""

    def __init__(self, config: Seq2SeqConfig, model: LoadedModel) -> None:
        self._config = config
        self._decoding = DecodingLoop(model, config.context_tokens, config.batch_tokens, self._on_ended)
        self._slots = asyncio.Semaphore(config.slots)
        self._running: dict[Call, asyncio.Future[None]] = {}
        self._requests = 0
        self._event_loop = asyncio.get_running_loop()

    @classmethod
    async def load(cls, config: Seq2SeqConfig, weights: Path | None) -> "Seq2SeqEngine":
        """Load the model from a folder in Hugging Face format. Raises `EngineError` if it cannot be loaded.

        Raises `WeightsError` if the folder could run code and the config does not trust it.
        """
        if weights is None:
            raise EngineError("The seq2seq engine needs the local path of a model's folder.")
        config.check_folder(weights)
        model = await asyncio.to_thread(
            load_model,
            weights,
            device=config.device,
            dtype=config.dtype,
            threads=config.threads,
            context_tokens=config.context_tokens,
            chat_template=config.chat_template,
            trusts_code=config.trusts_code,
        )
        return cls(config, model)

    def counters(self) -> EngineCounters:
        """Return the totals. Raises `EngineError` once the decoding thread broke, so that a health check fails."""
        decoding = self._decoding
        if decoding.broken:
            raise EngineError(decoding.broken)
        return EngineCounters(len(self._running), self._requests, decoding.prompt_tokens, decoding.completion_tokens)

    async def close(self) -> None:
        await asyncio.to_thread(self._decoding.close)
        if self._running:
            await asyncio.wait(self._running.values())

    def _call(self, prompt: Prompt, meter: Meter, on_delta: Callable[[Delta], object] | None = None) -> Call:
        decoding = self._config.decoding(prompt.sampling)
        return Call(
            prompt,
            meter,
            max_tokens=min(decoding.max_tokens, self._config.context_tokens),
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            seed=decoding.seed,
            on_delta=on_delta,
        )

    async def _start(self, call: Call) -> asyncio.Future[None]:
        """Wait for a slot, then hand the call over. The slot is the call's: it is freed once the thread ends it."""
        await self._slots.acquire()
        call.admit()
        try:
            self._decoding.submit(call)
        except EngineError:
            self._slots.release()
            raise
        self._requests += 1
        self._running[call] = future = self._event_loop.create_future()
        return future

    def _on_ended(self, call: Call, error: EngineError | None) -> None:
        """Pass the end of a call, reported in the decoding thread, to the event loop."""
        self._event_loop.call_soon_threadsafe(self._free, call, error)

    def _free(self, call: Call, error: EngineError | None) -> None:
        future = self._running.pop(call)
        self._slots.release()
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
            future.exception()  # so that asyncio sees it retrieved if nobody waits any more
