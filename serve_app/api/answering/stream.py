"""Server-sent events: the answer as it arrives, comment lines while it does not, the decision record at the end."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TypeAlias

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serve_app.api.answering.exchange import Exchange, while_connected
from serve_app.api.answering.reply import failure_reply
from serve_app.api.errors.detail import BUG, failure_detail
from serve_app.core.record import reported_calls, usage
from serve_app.core.running.progress import Watched
from serve_app.core.types.answer import Delta, Failure
from serve_app.core.types.outcome import Outcome

logger = logging.getLogger(__name__)

Shown: TypeAlias = Delta | Outcome | Watched | None
"""A piece of text, the end, progress in a watched stream, or None after a silence."""


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
        async with aclosing(_paced(exchange)) as events:
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
            for part in _parts(exchange, event):
                yield part
            event = await anext(events)
        record = exchange.close(event)
        if isinstance(event.answer, Failure):
            for part in form.failed(failure_detail(event.answered_by, event.answer, form.field_names), record):
                yield part
            return
        async with aclosing(form.ending(event.returned, usage(reported_calls(exchange.run, event)), record)) as ending:
            async for part in ending:
                yield part
    except Exception as error:
        # The response has started, so the app's exception handlers cannot answer any more.
        logger.error("Unexpected error in a stream", exc_info=error)
        for part in form.failed(BUG, None):
            yield part


def _parts(exchange: Exchange, event: Delta | Watched | None) -> Iterable[bytes]:
    if event is None:
        return exchange.format.waiting()
    if isinstance(event, Delta):
        return exchange.format.delta(event)
    return exchange.format.progress(event, exchange.run.costs)


async def _paced(exchange: Exchange) -> AsyncGenerator[Shown, None]:
    """Yield what is shown, and None after `stream_open_s` seconds without anything, then after each `keepalive_s`."""
    async with aclosing(_shown(exchange)) as events:
        wait_s = exchange.stream_open_s
        while True:
            waiting = asyncio.ensure_future(anext(events))
            try:
                while not waiting.done():
                    await asyncio.wait({waiting}, timeout=wait_s)
                    if not waiting.done():
                        yield None
                    wait_s = exchange.keepalive_s
            finally:
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.gather(waiting, return_exceptions=True)
            try:
                yield waiting.result()
            except StopAsyncIteration:
                return


async def _shown(exchange: Exchange) -> AsyncGenerator[Delta | Outcome | Watched, None]:
    """Yield the cascade's events that the client is shown."""
    watched = exchange.watched
    async with aclosing(exchange.watched_events() if watched else exchange.events()) as events:
        async for event in events:
            empty = isinstance(event, Delta) and not (event.text or event.reasoning)
            if not empty and (watched or isinstance(event, Delta | Outcome)):
                yield event
