"""Conversations that were deferred once stay with the target, so that they do not change their model every turn."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from serve_app.api.intake.ask import Ask
from serve_app.config import AppConfig
from serve_app.core.running.cascade import Event
from serve_app.core.running.run import Run
from serve_app.core.types.outcome import Outcome
from serve_app.deployments.remembering.sessions import Session, SessionStore


class Stickiness:
    """Escalates the requests of deferred sessions, for the cascades with `stickiness: escalate`.

    A session is forgotten `session_ttl_s` after its last request. Requests with `force` neither are escalated nor
    count. Those that name no session never ask the store.
    """

    def __init__(self, config: AppConfig, store: SessionStore) -> None:
        self._ttl_s = {
            id_: cascade.session_ttl_s
            for id_, cascade in config.cascades.items()
            if cascade.stickiness == "escalate" and len(cascade.tiers) > 1
        }
        self._store = store
        self._sessions: dict[int, Session] = {}

    async def recall(self, ask: Ask) -> Ask:
        """Return the request, escalated if its session was deferred before."""
        session = self._session(ask)
        if session is None:
            return ask
        return replace(ask, escalated=await self._store.is_deferred(session, self._ttl_s[session.cascade]))

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
        return events if session is None else self._remembering(session, events)

    async def _remembering(self, session: Session, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Outcome) and event.deferred:
                    await self._store.remember(session, self._ttl_s[session.cascade])
                yield event

    def _session(self, ask: Ask) -> Session | None:
        name = ask.options.session
        if name is None or ask.options.force is not None or ask.model not in self._ttl_s:
            return None
        return Session(ask.model, ask.caller.name, name)
