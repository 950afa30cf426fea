"""The agreement scorer: similarities for every cascade. Requests that wait together are scored together."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from time import perf_counter
from typing import Any

from serve_app.config import ScorerConfig
from serve_app.core.types.scores import Embedding, Scores
from serve_app.deployments.observing.logs import drop_unwritable_lines
from serve_app.deployments.observing.metrics import (
    SCORER,
    SCORER_BATCH_SECONDS,
    SCORER_BATCH_TEXTS,
    SCORER_WAITING,
    Instruments,
)
from serve_app.errors import SignalError, choices
from serve_app.signals import SbertSignal, Signal, SignalConfig, build_signal, needs_weights
from serve_app.weights import fetch


@dataclass(frozen=True, slots=True)
class Texts:
    """One request's texts, of which the first `since` were compared with each other before."""

    texts: Sequence[str]
    since: int = 0

    @property
    def new(self) -> int:
        """Return the number of texts that were not compared before."""
        return len(self.texts) - self.since


Waiting = tuple[Texts, asyncio.Future[Any]]
Job = tuple[str, Callable[[Any, list[Texts]], list[Any]]]
"""A signal, and the work on a batch of its requests: they are scored, or embedded."""


class ScorerServer:
    """Scores in a thread, one batch of a signal at a time; requests that arrive meanwhile make up the next batch.

    So a single request never waits for others, and batches grow with load.
    """

    def __init__(self, signals: dict[str, SignalConfig], config: ScorerConfig) -> None:
        drop_unwritable_lines()
        self._signals = {name: _build(signal) for name, signal in signals.items()}
        self._max_texts = config.max_batch_texts
        self._waiting: dict[Job, deque[Waiting]] = defaultdict(deque)
        self._workers: dict[Job, asyncio.Task[None]] = {}
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="scorer")
        self._instruments = Instruments(SCORER)

    async def check_health(self) -> None:
        """Set the gauges, which Ray forgets if they are not set again. Serve calls this every few seconds."""
        for signal in self._signals:
            waiting = sum(len(queue) for (name, _), queue in self._waiting.items() if name == signal)
            self._instruments.record(SCORER_WAITING, waiting, signal)

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        """Return the n x n similarities of n texts, and what they cost; NaN for pairs of the first `since` texts.

        Raises `SignalError` if the signal is unknown or fails.
        """
        if signal not in self._signals:
            raise SignalError(f"There is no signal {signal!r}. {choices(signal, self._signals)}")
        scores: Scores = await self._batched((signal, score_batch), Texts(texts, since))
        return scores

    async def embed(self, signal: str, texts: Sequence[str]) -> list[Embedding]:
        """Return the vector of each text by the encoder of an sbert signal.

        Raises `SignalError` if there is no such signal, or if it fails.
        """
        encoders = [name for name, built in self._signals.items() if isinstance(built, SbertSignal)]
        if signal not in encoders:
            raise SignalError(f"There is no encoder {signal!r}. {choices(signal, encoders)}")
        embeddings: list[Embedding] = await self._batched((signal, embed_batch), Texts(texts))
        return embeddings

    async def _batched(self, job: Job, texts: Texts) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[job].append((texts, future))
        if job not in self._workers:
            self._workers[job] = asyncio.create_task(self._work(job))
        return await future

    async def _work(self, job: Job) -> None:
        loop, (signal, compute) = asyncio.get_running_loop(), job
        try:
            while batch := self._take(job):
                texts, started = [texts for texts, _ in batch], perf_counter()
                self._instruments.record(SCORER_BATCH_TEXTS, sum(request.new for request in texts), signal)
                try:
                    results = await loop.run_in_executor(self._threads, compute, self._signals[signal], texts)
                except Exception as error:  # noqa: BLE001 - every failure goes to the requests of the batch
                    _settle(batch, error)
                else:
                    _settle(batch, results)
                    self._instruments.record(SCORER_BATCH_SECONDS, perf_counter() - started, signal)
        finally:
            del self._workers[job]

    def _take(self, job: Job) -> list[Waiting]:
        """Return the oldest requests, up to the limit of texts but at least one, without cancelled ones."""
        waiting, size = self._waiting[job], 0
        batch: list[Waiting] = []
        while waiting and (not batch or size + waiting[0][0].new <= self._max_texts):
            texts, future = waiting.popleft()
            if not future.cancelled():
                batch.append((texts, future))
                size += texts.new
        return batch


def _build(config: SignalConfig) -> Signal:
    weights = fetch(config.weights, config.sha256) if needs_weights(config) else None
    return build_signal(config, weights)


def score_batch(signal: Signal, requests: list[Texts]) -> list[Scores]:
    """Score requests together and charge each its share of the time, by its number of new texts."""
    started = perf_counter()
    results = signal.similarities([request.texts for request in requests], [request.since for request in requests])
    share = (perf_counter() - started) / max(1, sum(request.new for request in requests))
    return [replace(scores, device_s=share * request.new) for request, scores in zip(requests, results, strict=True)]


def embed_batch(signal: SbertSignal, requests: list[Texts]) -> list[list[Embedding]]:
    """Embed the texts of all requests together."""
    embeddings = iter(signal.embed([text for request in requests for text in request.texts]))
    return [list(islice(embeddings, request.new)) for request in requests]


def _settle(batch: list[Waiting], result: list[Any] | Exception) -> None:
    for number, (_, future) in enumerate(batch):
        if future.cancelled():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result[number])
