"""Server-sent events: the answer as it arrives, comment lines while it does not, the decision record at the end."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeAlias

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serve_app.api.error_detail import BUG, failure_detail
from serve_app.api.exchange import Exchange, while_connected
from serve_app.api.reply import failure_reply
from serve_app.core.record import reported_calls, usage
from serve_app.core.running.cascade import Event
from serve_app.core.types import Delta, Failure, Outcome

logger = logging.getLogger(__name__)

Shown: TypeAlias = Delta | Outcome | None
"""A piece of text, the end, or nothing for a while."""


class EventStream(StreamingResponse):
    """The response that streams an exchange, and closes it however the stream ends.

    It waits for the answer's first text, at most `stream_open_s`, so that a failure until then has its own status.
    Starlette leaves an interrupted stream to the garbage collector, and never closes one that did not start.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        super().__init__(_nothing(), media_type="text/event-stream", headers={"cache-control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await while_connected(receive, self._respond(scope, receive, send))
        finally:
            if not self._exchange.closed:
                self._exchange.close(None)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = self._exchange
        async with aclosing(_paced(exchange.events(), exchange.stream_open_s, exchange.keepalive_s)) as events:
            first = await anext(events)
            if isinstance(first, Outcome) and isinstance(first.answer, Failure):
                reply = failure_reply(exchange, first, exchange.close(first), scope)
                await reply(scope, receive, send)
                return
            async with aclosing(server_sent_events(exchange, first, events)) as self.body_iterator:
                await self.stream_response(send)


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield


async def server_sent_events(
    exchange: Exchange, first: Shown, events: AsyncGenerator[Shown, None]
) -> AsyncGenerator[bytes, None]:
    """Yield the whole stream, from its first event on; a failure is an `error` event now."""
    form = exchange.format
    try:
        for part in form.opening():
            yield part
        event = first
        while not isinstance(event, Outcome):
            for part in form.waiting() if event is None else form.delta(event):
                yield part
            event = await anext(events)
        record = exchange.close(event)
        if isinstance(event.answer, Failure):
            ending = form.failed(failure_detail(event.answered_by, event.answer, form.field_names), record)
        else:
            ending = form.ending(event.returned, usage(reported_calls(exchange.run, event)), record)
        for part in ending:
            yield part
    except Exception as error:
        # The response has started, so the app's exception handlers cannot answer any more.
        logger.error("Unexpected error in a stream", exc_info=error)
        for part in form.failed(BUG, None):
            yield part


async def _paced(run: AsyncGenerator[Event, None], first_s: float, period_s: float) -> AsyncGenerator[Shown, None]:
    """Yield the texts and the outcome, and None if nothing came for `first_s` seconds, then whenever for `period_s`."""
    async with aclosing(_shown(run)) as events:
        wait_s = first_s
        while True:
            waiting = asyncio.ensure_future(anext(events))
            try:
                while not waiting.done():
                    await asyncio.wait({waiting}, timeout=wait_s)
                    if not waiting.done():
                        yield None
                    wait_s = period_s
            finally:
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.gather(waiting, return_exceptions=True)
            try:
                yield waiting.result()
            except StopAsyncIteration:
                return


async def _shown(run_events: AsyncGenerator[Event, None]) -> AsyncGenerator[Delta | Outcome, None]:
    """Yield the cascade's events that a client is shown."""
    async with aclosing(run_events) as events:
        async for event in events:
            if isinstance(event, Outcome) or (isinstance(event, Delta) and (event.text or event.reasoning)):
                yield event
