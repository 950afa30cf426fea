"""The deployment with what all router replicas share."""

from collections.abc import Callable
from time import monotonic
from uuid import uuid4

from serve_app.api.responses.store import KeptResponse, LocalResponses, ResponseKey
from serve_app.common.bounded_store import StoreLimits
from serve_app.deployments.observing.logs import drop_unwritable_lines
from serve_app.deployments.remembering.sessions import LocalSessions, Session
from serve_app.deployments.remembering.window_counts import News, Window, WindowCounts
from serve_app.deployments.showing.board import FiguresBoard, FiguresNews
from serve_app.deployments.showing.figures import Figures


class StateStore:
    """What every router replica keeps and counts, in the memory of this one process.

    These are responses, deferred sessions, the use of keys, and the figures of the live view while a client watches.

    A deploy that changes anything in the application's `args` replaces the process by an empty one: Serve gives all
    deployments of an application one code version. `clock` returns seconds.
    """

    def __init__(self, responses: StoreLimits, max_sessions: int, clock: Callable[[], float] = monotonic) -> None:
        drop_unwritable_lines()
        self._responses = LocalResponses(responses, clock)
        self._sessions = LocalSessions(max_sessions, clock)
        self._counts = WindowCounts(clock)
        self._board = FiguresBoard(clock)
        self._name = uuid4().hex

    async def put_response(self, key: ResponseKey, response: KeptResponse) -> bool:
        return await self._responses.put(key, response)

    async def get_response(self, key: ResponseKey) -> KeptResponse | None:
        return await self._responses.get(key)

    async def get_body(self, key: ResponseKey) -> bytes | None:
        return await self._responses.body(key)

    async def delete_response(self, key: ResponseKey) -> bool:
        return await self._responses.delete(key)

    async def is_deferred(self, session: Session, ttl_s: float) -> bool:
        return await self._sessions.is_deferred(session, ttl_s)

    async def remember(self, session: Session, ttl_s: float) -> None:
        await self._sessions.remember(session, ttl_s)

    async def exchange_counts(self, windows: list[Window], store: str, version: int) -> News:
        """Take in a router's windows; return what changed since a version, or everything if it is another store's."""
        news = self._counts.changed_since(version if store == self._name else 0)
        self._counts.merge(windows)
        return News(self._name, self._counts.version, news)

    async def exchange_figures(self, router: str, figures: Figures | None, watching: bool) -> FiguresNews:
        """Take in a router's figures, if it has any; return those of the others if a client is `watching` it."""
        return self._board.exchange(router, figures, watching)
