"""The agreement scorer: similarities for every cascade. Requests that wait together are scored together."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter

from serve_app.config import ScorerConfig
from serve_app.core.types import Scores
from serve_app.deployments.observing.metrics import (
    SCORER,
    SCORER_BATCH_SECONDS,
    SCORER_BATCH_TEXTS,
    SCORER_WAITING,
    Instruments,
)
from serve_app.errors import SignalError, choices
from serve_app.signals import Signal, SignalConfig, build_signal, needs_weights
from serve_app.weights import fetch

Waiting = tuple[Sequence[str], asyncio.Future[Scores]]


class ScorerServer:
    """Scores in a thread, one batch of a signal at a time; requests that arrive meanwhile make up the next batch.

    So a single request never waits for others, and batches grow with load.
    """

    def __init__(self, signals: dict[str, SignalConfig], config: ScorerConfig) -> None:
        self._signals = {name: _build(signal) for name, signal in signals.items()}
        self._max_texts = config.max_batch_texts
        self._waiting: dict[str, deque[Waiting]] = defaultdict(deque)
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="scorer")
        self._instruments = Instruments(SCORER)

    async def check_health(self) -> None:
        """Set the gauges, which Ray forgets if they are not set again. Serve calls this every few seconds."""
        for signal in self._signals:
            self._instruments.record(SCORER_WAITING, len(self._waiting[signal]), signal)

    async def score(self, signal: str, texts: Sequence[str]) -> Scores:
        """Return the n x n similarities of n texts, and what they cost.

        Raises `SignalError` if the signal is unknown or fails.
        """
        if signal not in self._signals:
            raise SignalError(f"There is no signal {signal!r}. {choices(signal, self._signals)}")
        future: asyncio.Future[Scores] = asyncio.get_running_loop().create_future()
        self._waiting[signal].append((texts, future))
        if signal not in self._workers:
            self._workers[signal] = asyncio.create_task(self._work(signal))
        return await future

    async def _work(self, signal: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            while batch := self._take(signal):
                texts, started = [texts for texts, _ in batch], perf_counter()
                self._instruments.record(SCORER_BATCH_TEXTS, sum(map(len, texts)), signal)
                try:
                    scores = await loop.run_in_executor(self._threads, score_batch, self._signals[signal], texts)
                except Exception as error:  # noqa: BLE001 - every failure goes to the requests of the batch
                    _settle(batch, error)
                else:
                    _settle(batch, scores)
                    self._instruments.record(SCORER_BATCH_SECONDS, perf_counter() - started, signal)
        finally:
            del self._workers[signal]

    def _take(self, signal: str) -> list[Waiting]:
        """Return the oldest requests, up to the limit of texts but at least one, without cancelled ones."""
        waiting, size = self._waiting[signal], 0
        batch: list[Waiting] = []
        while waiting and (not batch or size + len(waiting[0][0]) <= self._max_texts):
            texts, future = waiting.popleft()
            if not future.cancelled():
                batch.append((texts, future))
                size += len(texts)
        return batch


def _build(config: SignalConfig) -> Signal:
    weights = fetch(config.weights, config.sha256) if needs_weights(config) else None
    return build_signal(config, weights)


def score_batch(signal: Signal, requests: list[Sequence[str]]) -> list[Scores]:
    """Score requests together and charge each its share of the time, by its number of texts."""
    started = perf_counter()
    scored = signal.similarities(requests)
    share = (perf_counter() - started) / max(1, sum(len(texts) for texts in requests))
    return [replace(scores, device_s=share * len(texts)) for texts, scores in zip(requests, scored, strict=True)]


def _settle(batch: list[Waiting], result: list[Scores] | Exception) -> None:
    for number, (_, future) in enumerate(batch):
        if future.cancelled():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result[number])
