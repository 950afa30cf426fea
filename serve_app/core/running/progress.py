"""The progress of a run, for its watcher: which models work, what they have written, and how they ended."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from serve_app.core.types.answer import Answer, Delta
from serve_app.core.types.outcome import TierResult
from serve_app.core.types.policy import Tier

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class TierStarted:
    """The run has come to its tier `number` (from 0): answers that are there already are used, other models called."""

    number: int
    tier: Tier


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A model has been called, for the run's present tier or ahead of a later one."""

    model: str


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of what a model writes."""

    model: str
    delta: Delta


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call has ended, or was stopped."""

    model: str
    answer: Answer


Progress: TypeAlias = TierStarted | CallStarted | CallDelta | CallEnded
Watched: TypeAlias = Progress | TierResult
"""Everything in a watched stream beside the answer."""
Watch: TypeAlias = Callable[[Progress], None]


async def merged(events: AsyncGenerator[E, None], progress: "asyncio.Queue[E | None]") -> AsyncGenerator[E, None]:
    """Yield the events of a run, and what is put into the queue meanwhile, in the order in which they happened.

    The run continues however slowly they are read. Closing this closes the events; what they raise is raised here,
    after all that happened before.
    """

    async def pump() -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    progress.put_nowait(event)
        finally:
            progress.put_nowait(None)

    task = asyncio.create_task(pump())
    try:
        while (event := await progress.get()) is not None:
            yield event
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
