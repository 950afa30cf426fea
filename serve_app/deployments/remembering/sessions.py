"""Conversations that were deferred, of the cascades that keep those at the target."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation with a cascade, which belongs to the API key (`caller`) that began it."""

    cascade: str
    caller: str | None
    name: str


class SessionStore(Protocol):
    """The sessions that were deferred, in this process or in one that several share. No method raises."""

    async def is_deferred(self, session: Session, ttl_s: float) -> bool:
        """Return whether the session was deferred before, and remember it for `ttl_s` seconds anew if so."""
        ...

    async def remember(self, session: Session, ttl_s: float) -> None:
        """Remember for `ttl_s` seconds that the session was deferred."""
        ...


class LocalSessions:
    """A `SessionStore` in this process: it remembers the latest `most` sessions. `clock` returns seconds."""

    def __init__(self, most: int, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._clock = clock
        self._until: OrderedDict[Session, float] = OrderedDict()

    async def is_deferred(self, session: Session, ttl_s: float) -> bool:
        if self._until.pop(session, 0.0) <= self._clock():
            return False
        await self.remember(session, ttl_s)
        return True

    async def remember(self, session: Session, ttl_s: float) -> None:
        self._until.pop(session, None)
        self._until[session] = self._clock() + ttl_s
        if len(self._until) > self._most:
            self._until.popitem(last=False)
