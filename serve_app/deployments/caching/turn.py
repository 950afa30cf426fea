"""Where one request gets its answer from: a kept one, an equal request's run, or a run of its own."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Literal, TypeAlias

from serve_app.core.running.cascade import Event, cascade_events
from serve_app.core.running.progress import merged
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Delta, Generation
from serve_app.core.types.outcome import Cached, Outcome
from serve_app.deployments.caching.complete import complete, shareable
from serve_app.deployments.caching.flights import Flight, Flights
from serve_app.deployments.caching.kept_answers import KeptAnswers

CacheResult: TypeAlias = Literal["hit", "shared", "miss", "uncacheable"]


class Turn:
    """A request's turn at the answers of its `key`, from `enter` to `leave`; nothing is awaited before `enter`.

    It gets the answer that is kept, or else waits for the flight in progress, or else `leads`: its own run asks models,
    and is the flight that equal requests wait for.
    """

    def __init__(self, answers: KeptAnswers, flights: Flights, key: bytes) -> None:
        self._answers = answers
        self._flights = flights
        self._key = key
        self._kept_outcome = answers.get(key)
        self._flight: Flight | None = None if self._kept_outcome is not None else flights.get(key)
        self.leads = self._kept_outcome is None and self._flight is None
        self._begin: Callable[[], None] | None = None

    def enter(self, begin: Callable[[], None]) -> None:
        """Let equal requests wait for this one, if it leads.

        `begin` is called before its run asks a model if the run that it waited for gave no answer.
        """
        self._begin = begin
        if self.leads:
            self._flight = self._flights.begin(self._key)

    def leave(self, outcome: Outcome | None) -> CacheResult | None:
        """End the turn, and return what the cache did for its request: None if its client left while it waited.

        If its own run has not ended, one of the requests that wait for it runs in its place.
        """
        if self.leads:
            self._land(None)
            return "miss"
        if outcome is None or outcome.cached is None:
            return None
        return "shared" if outcome.cached.shared else "hit"

    async def events(self, run: Run) -> AsyncGenerator[Event, None]:
        """Yield the events of a request as `cascade_events` does; an answer from elsewhere comes at once."""
        outcome = self._kept_outcome
        while outcome is None and not self.leads:
            assert self._flight is not None
            outcome = await self._flight.outcome()
            if outcome is None:
                self._join()
        if outcome is not None:
            for event in _shared_events(run, outcome):
                yield event
            return
        stream = self._run_events(run)
        if run.watch is None:
            # Others may wait for the run, so it continues however slowly this client reads. A watched run's events are
            # read at once, and a second queue would have them after later progress.
            stream = merged(stream, asyncio.Queue())
        async with aclosing(stream) as events:
            async for event in events:
                yield event

    def _join(self) -> None:
        """Wait for the next run in progress, or lead if there is none."""
        self._flight = self._flights.get(self._key)
        if self._flight is None:
            self.leads = True
            self._flight = self._flights.begin(self._key)
            assert self._begin is not None
            self._begin()

    async def _run_events(self, run: Run) -> AsyncGenerator[Event, None]:
        """Yield the events of a run; its outcome is given to others first."""
        async with aclosing(cascade_events(run)) as events:
            async for event in events:
                if isinstance(event, Outcome):
                    self._ended(run, event)
                yield event

    def _ended(self, run: Run, outcome: Outcome) -> None:
        """Keep the outcome of a run, unless it was decided under pressure, and give it to waiting requests."""
        if run.shed is None and complete(outcome):
            self._answers.put(self._key, outcome)
        self._land(replace(outcome, cached=Cached(0.0, shared=True)) if shareable(outcome) else None)

    def _land(self, outcome: Outcome | None) -> None:
        assert self._flight is not None
        self._flights.end(self._key, self._flight, outcome)


def _shared_events(run: Run, outcome: Outcome) -> Iterator[Event]:
    """Yield the events of a request that has another's outcome."""
    if isinstance(answer := outcome.answer, Generation):
        run.first_text_s = run.clock() - run.started
        yield Delta(answer.text, answer.prompt_tokens, answer.completion_tokens, reasoning=answer.reasoning)
    yield replace(outcome, total_s=run.clock() - run.started)
