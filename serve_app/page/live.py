"""The live view's stream: a snapshot each second, in connections that end by themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serve_app.api.encoding import event
from serve_app.api.error_detail import ErrorDetail
from serve_app.api.error_shape import error_reply
from serve_app.api.intake.caller import caller_of
from serve_app.core.record_json import JsonObject

STREAM_S = 15
"""Seconds after which a stream ends and the page opens the next, so that a replica that is to stop need not wait."""
PERIOD_S = 1.0
MOST_STREAMS = 32
FOR_OPERATORS = ErrorDetail(403, "The live view is for operators: enter an admin's key.", code="not_an_operator")
FOREIGN = ErrorDetail(403, "Only the page itself may watch.", code="cross_site")
TOO_MANY = ErrorDetail(429, f"{MOST_STREAMS} browsers watch already.", "rate_limit_error", code="overloaded")


class Watchable(Protocol):
    """What can be watched."""

    async def snapshot(self) -> JsonObject:
        """Return the figures of now."""
        ...


class HeldStream(StreamingResponse):
    """A stream of events that calls `on_end` however it ends, also if its client leaves before the first event."""

    def __init__(self, events: AsyncIterator[bytes], on_end: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


def install_live(app: FastAPI, live: Watchable, *, period_s: float = PERIOD_S) -> None:
    """Make the app stream what the live view shows."""
    watching = 0

    async def snapshots() -> AsyncIterator[bytes]:
        for _ in range(round(STREAM_S / PERIOD_S)):
            yield event(await live.snapshot())
            await asyncio.sleep(period_s)
        yield b"data: [DONE]\n\n"

    def leave() -> None:
        nonlocal watching
        watching -= 1

    @app.get("/page/live", include_in_schema=False)
    async def stream(request: Request) -> Response:
        nonlocal watching
        if request.headers.get("sec-fetch-site") == "cross-site":
            return error_reply(FOREIGN, request.scope)
        if not caller_of(request.scope).operator:
            return error_reply(FOR_OPERATORS, request.scope)
        if watching >= MOST_STREAMS:
            return error_reply(TOO_MANY, request.scope, {"retry-after": str(STREAM_S)})
        watching += 1  # here, not when the stream begins: others may arrive until then
        return HeldStream(snapshots(), leave)
