"""The live view's stream: a snapshot each second, in connections that end by themselves."""

import asyncio
from collections.abc import AsyncIterator
from math import ceil
from typing import Protocol

from fastapi import FastAPI, Request, Response

from serve_app.api.encoding import event
from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.errors.shape import error_reply
from serve_app.core.record_json import JsonObject
from serve_app.page.streams import HeldStream, refusal

SNAPSHOTS = 15
"""Snapshots of a stream, which then ends, and the page opens the next: so a replica that is to stop need not wait."""
PERIOD_S = 1.0
MOST_S = 40.0
"""Age at which a stream is broken off whose client does not read; at half of it, that of a slow reader ends."""
MOST_STREAMS = 32
TOO_MANY = ErrorDetail(429, f"{MOST_STREAMS} browsers watch already.", "rate_limit_error", code="overloaded")


class Watchable(Protocol):
    """What can be watched."""

    async def snapshot(self) -> JsonObject:
        """Return the figures of now."""
        ...


def install_live(app: FastAPI, live: Watchable, *, period_s: float = PERIOD_S, most_s: float = MOST_S) -> None:
    """Make the app stream what the live view shows: `SNAPSHOTS` of it, one each `period_s` seconds.

    A stream takes at most `most_s` seconds, and one of `MOST_STREAMS` places until then.
    """
    watching = 0

    async def snapshots() -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        late = loop.time() + most_s / 2
        for _ in range(SNAPSHOTS):
            yield event(await live.snapshot())
            await asyncio.sleep(period_s)
            if loop.time() > late:
                break
        yield b"data: [DONE]\n\n"

    async def leave() -> None:
        nonlocal watching
        watching -= 1

    @app.get("/page/live", include_in_schema=False)
    async def stream(request: Request) -> Response:
        nonlocal watching
        if refused := refusal(request, "The live view"):
            return error_reply(refused, request.scope)
        if watching >= MOST_STREAMS:
            return error_reply(TOO_MANY, request.scope, {"retry-after": str(ceil(SNAPSHOTS * period_s))})
        watching += 1  # here, not when the stream begins: others may arrive until then
        return HeldStream(snapshots(), leave, most_s)
