"""Streams of events that hold a resource, and the clients that may ask for one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.intake.caller import caller_of

FOREIGN = ErrorDetail(403, "Only the page itself may ask for this.", code="cross_site")


class HeldStream(StreamingResponse):
    """A stream of events that calls `on_end` however it ends, also if its client leaves before the first event.

    What it holds is given back after `most_s` seconds. The connection of a client that does not read stays open until
    TCP gives up: what was sent is still on its way. Ray Serve's proxy takes what no client reads, so behind it a stream
    ends as if it were read, and `most_s` counts only where nothing stands between.
    """

    def __init__(
        self, events: AsyncIterator[bytes], on_end: Callable[[], Awaitable[None]], most_s: float | None = None
    ) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._on_end = on_end
        self._most_s = most_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._most_s) as limit:
                await super().__call__(scope, receive, send)
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            await self._on_end()


def refusal(request: Request, view: str) -> ErrorDetail | None:
    """Return why a request of the page may not have an operators' `view`, or None if it may."""
    if request.headers.get("sec-fetch-site") == "cross-site":
        return FOREIGN
    if not caller_of(request.scope).operator:
        return ErrorDetail(403, f"{view} is for operators: enter an admin's key.", code="not_an_operator")
    return None
