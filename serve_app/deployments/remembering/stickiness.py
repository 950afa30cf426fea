"""Conversations that were deferred once stay with the target, so that they do not change their model every turn."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import replace
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
        self._sessions: dict[int, Session] = {}
        self._calls: set[asyncio.Task[Any]] = set()

    async def recall(self, ask: Ask) -> Ask:
        """Return the request, escalated if its session was deferred before, as far as the store says so in time."""
        session = self._session(ask)
        if session is None:
            return ask
        look_up = self._store.is_deferred(session, self._ttl_s[session.cascade])
        limit_s = ask.left_s
        within_s = None if limit_s is None else RECALL_SHARE * limit_s
        return replace(ask, escalated=bool(await self._within(within_s, look_up)))

    def enter(self, ask: Ask, run: Run) -> None:
        """Take note of the session of a run, until `leave`."""
        if (session := self._session(ask)) is not None:
            self._sessions[id(run)] = session

    def leave(self, run: Run) -> None:
        """Forget a run that has ended."""
        self._sessions.pop(id(run), None)

    def events(self, run: Run, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """Return the events of a run; its session is remembered before an outcome that was deferred."""
        session = self._sessions.get(id(run))
        return events if session is None else self._remembering(session, run, events)

    async def _remembering(
        self, session: Session, run: Run, events: AsyncGenerator[Event, None]
    ) -> AsyncGenerator[Event, None]:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Outcome) and event.deferred:
                    remember = self._store.remember(session, self._ttl_s[session.cascade])
                    await self._within(left_s(run), remember)
                yield event

    async def _within(self, wait_s: float | None, call: Coroutine[Any, Any, T]) -> T | None:
        """Return what a call of the store returns within `wait_s` seconds (None: any time), or None; it runs on."""
        task = asyncio.create_task(call)
        self._calls.add(task)  # the loop alone would not keep it
        task.add_done_callback(self._calls.discard)
        await asyncio.wait({task}, timeout=wait_s)
        return task.result() if task.done() else None

    def _session(self, ask: Ask) -> Session | None:
        name = ask.options.session
        if name is None or ask.options.force is not None or ask.model not in self._ttl_s:
            return None
        return Session(ask.model, ask.caller.name, name)
