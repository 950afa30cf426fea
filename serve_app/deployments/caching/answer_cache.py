"""Requests that are answered without a run of their own: from kept answers, or from an equal request's run."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from time import monotonic
from typing import Literal, TypeAlias

from serve_app.api.intake.ask import Ask
from serve_app.common.bounded_store import StoreLimits
from serve_app.config import AppConfig
from serve_app.core.running.cascade import Event, cascade_events
from serve_app.core.running.progress import merged
from serve_app.core.running.run import Run
from serve_app.core.sampling import sampled
from serve_app.core.types.answer import Delta, Generation
from serve_app.core.types.outcome import Cached, Outcome
from serve_app.deployments.caching.complete import complete, shareable
from serve_app.deployments.caching.flights import Flight, Flights
from serve_app.deployments.caching.kept_answers import KeptAnswers
from serve_app.deployments.caching.key import request_key

CacheResult: TypeAlias = Literal["hit", "shared", "miss", "uncacheable"]


@dataclass(slots=True)
class _Turn:
    """Where a request gets its answer from: a `kept` one, or a `flight`, which is its own run if it `leads`."""

    cascade: str
    key: bytes
    kept: Outcome | None = None
    flight: Flight | None = None
    leads: bool = False


class AnswerCache:
    """The kept answers of every cascade that has a cache, and the runs that equal requests share.

    `begin` is called with the cascade and the run of a request that has waited for another's run in vain, before its
    own asks a model. `clock` returns seconds.
    """

    def __init__(
        self, config: AppConfig, begin: Callable[[str, Run], None], clock: Callable[[], float] = monotonic
    ) -> None:
        self._kept = {
            id_: KeptAnswers(StoreLimits(cascade.cache.entries, cascade.cache.bytes, cascade.cache.ttl_s), clock)
            for id_, cascade in config.cascades.items()
            if cascade.cache is not None
        }
        self._config = config
        self._samples = config.samples()
        self._begin = begin
        self._flights = Flights()
        self._turns: dict[int, _Turn] = {}

    def has(self, cascade: str) -> bool:
        """Return whether the cascade has a cache."""
        return cascade in self._kept

    def key(self, ask: Ask, run: Run, calibration: str | None) -> bytes | None:
        """Return the key of a request's answer, or None if it is not to be cached: one of the models draws at random.

        `calibration` is the id of the one in force.
        """
        if not ask.options.cache or ask.model not in self._kept:
            return None
        for name in {name for tier in run.tiers for name in tier.models}:
            sample = self._samples.get(name)
            prompt = run.prompt if sample is None else sampled(run.prompt, sample)
            if not self._config.models[self._config.served_by(name)].greedy(prompt.sampling):
                return None
        return request_key(ask.model, run, calibration, run.caller)

    def has_answer(self, cascade: str, key: bytes) -> bool:
        """Return whether an answer is kept or being made, so that such a request asks no model for now."""
        return key in self._kept[cascade] or self._flights.get(key) is not None

    def enter(self, cascade: str, run: Run, key: bytes) -> None:
        """Give a request of a cascade with a cache its turn, until `leave`."""
        turn = self._turns[id(run)] = _Turn(cascade, key, self._kept[cascade].get(key))
        if turn.kept is None:
            self._join(turn)

    def leave(self, run: Run, outcome: Outcome | None) -> CacheResult | None:
        """End a request's turn, and return what the cache did for it: None if its client left while it waited.

        If its own run has not ended, one of the requests that wait for it runs in its place.
        """
        turn = self._turns.pop(id(run), None)
        if turn is None:
            return "uncacheable"
        if turn.leads and turn.flight is not None:
            self._flights.end(turn.key, turn.flight, None)
            return "miss"
        if outcome is None or outcome.cached is None:
            return None
        return "shared" if outcome.cached.shared else "hit"

    def events(self, run: Run) -> AsyncGenerator[Event, None]:
        """Return the events of a request as `cascade_events` yields them; an answer from elsewhere comes at once."""
        turn = self._turns.get(id(run))
        return cascade_events(run) if turn is None else self._events(run, turn)

    def _join(self, turn: _Turn) -> None:
        """Make a turn wait for the run in progress, or lead one if there is none."""
        flight = self._flights.get(turn.key)
        turn.leads = flight is None
        turn.flight = flight or self._flights.begin(turn.key)

    async def _events(self, run: Run, turn: _Turn) -> AsyncGenerator[Event, None]:
        outcome = turn.kept
        while outcome is None and not turn.leads and turn.flight is not None:
            outcome = await turn.flight.outcome()
            if outcome is None:
                self._join(turn)
                if turn.leads:
                    self._begin(turn.cascade, run)
        if outcome is not None:
            for event in _given(run, outcome):
                yield event
            return
        made = self._made(run, turn)
        if run.watch is None:
            # Others may wait for the run, so it goes on however slowly this client reads. Whoever watches a run reads
            # its events at once, and a second queue would have them after later progress.
            made = merged(made, asyncio.Queue())
        async with aclosing(made) as events:
            async for event in events:
                yield event

    async def _made(self, run: Run, turn: _Turn) -> AsyncGenerator[Event, None]:
        """Yield the events of a run; its outcome is given to others first."""
        async with aclosing(cascade_events(run)) as events:
            async for event in events:
                if isinstance(event, Outcome):
                    self._ended(run, turn, event)
                yield event

    def _ended(self, run: Run, turn: _Turn, outcome: Outcome) -> None:
        """Keep the outcome of a run, unless it was decided under pressure, and give it to those who wait for it."""
        if run.shed is None and complete(outcome):
            self._kept[turn.cascade].put(turn.key, outcome)
        assert turn.flight is not None
        shared = replace(outcome, cached=Cached(0.0, shared=True)) if shareable(outcome) else None
        self._flights.end(turn.key, turn.flight, shared)


def _given(run: Run, outcome: Outcome) -> Iterator[Event]:
    """Yield the events of a request that has another's outcome."""
    if isinstance(answer := outcome.answer, Generation):
        run.first_text_s = run.clock() - run.started
        yield Delta(answer.text, answer.prompt_tokens, answer.completion_tokens, reasoning=answer.reasoning)
    yield replace(outcome, total_s=run.clock() - run.started)
