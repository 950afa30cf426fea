"""Conversations that were deferred once stay with the target, so that they do not change their model every turn."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from serve_app.api.intake.ask import Ask
from serve_app.config import AppConfig
from serve_app.core.running.budget import left_s
from serve_app.core.running.cascade import Event
from serve_app.core.running.run import Run
from serve_app.core.types.outcome import Outcome
from serve_app.deployments.remembering.sessions import Session, SessionStore

T = TypeVar("T")
RECALL_SHARE = 0.5
"""The part of a request's time limit that the look-up of its session may take; the models need the rest."""


class Stickiness:
    """Escalates the requests of deferred sessions, for the cascades with `stickiness: escalate`.

    A session is forgotten `session_ttl_s` after its last request. Requests with `force` neither are escalated nor
    count. Those that name no session never ask the store. A request with a time limit does not wait past it for the
    store, whose calls then end by themselves: the store's own time limit ends them, and its breaker hears of it.
    """

    def __init__(self, config: AppConfig, store: SessionStore) -> None:
        self._ttl_s = {
            id_: cascade.session_ttl_s
            for id_, cascade in config.cascades.items()
            if cascade.stickiness == "escalate" and len(cascade.tiers) > 1
        }
        self._store = store
        self._calls = _Calls()

    async def recall(self, ask: Ask) -> Ask:
        """Return the request, escalated if the store answers in time that its session was deferred before."""
        conversation = self.enter(ask)
        if conversation is None:
            return ask
        limit_s = ask.left_s
        return replace(
            ask, escalated=await conversation.is_deferred(None if limit_s is None else RECALL_SHARE * limit_s)
        )

    def enter(self, ask: Ask) -> "Conversation | None":
        """Return the conversation that a request continues, or None if it may be answered by any model."""
        name = ask.options.session
        if name is None or ask.options.force is not None or ask.model not in self._ttl_s:
            return None
        session = Session(ask.model, ask.caller.name, name)
        return Conversation(session, self._ttl_s[ask.model], self._store, self._calls)


class _Calls:
    """Calls of the store, which continue if their request does not wait any longer."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def within(self, wait_s: float | None, call: Coroutine[Any, Any, T]) -> T | None:
        """Return what a call returns within `wait_s` seconds (None: any time), or None."""
        task = asyncio.create_task(call)
        self._running.add(task)  # the loop alone would not keep it
        task.add_done_callback(self._running.discard)
        await asyncio.wait({task}, timeout=wait_s)
        return task.result() if task.done() else None


@dataclass(frozen=True, slots=True)
class Conversation:
    """The session of one request, by the store that remembers it for `ttl_s` seconds."""

    session: Session
    ttl_s: float
    store: SessionStore
    calls: _Calls

    async def is_deferred(self, wait_s: float | None) -> bool:
        """Return whether the store answers within `wait_s` seconds that the session was deferred before."""
        return bool(await self.calls.within(wait_s, self.store.is_deferred(self.session, self.ttl_s)))

    async def events(self, run: Run, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """Yield the events of a run; the session is remembered before an outcome that was deferred."""
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Outcome) and event.deferred:
                    await self.calls.within(left_s(run), self.store.remember(self.session, self.ttl_s))
                yield event
