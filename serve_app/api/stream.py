"""Server-sent events: the answer as it arrives, comment lines while it does not, the decision record at the end."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serve_app.api.encoding import encoded
from serve_app.api.errors import BUG, error_body, failure_body
from serve_app.api.exchange import Exchange, while_connected
from serve_app.core.cascade import Event, cascade_events
from serve_app.core.record import usage
from serve_app.core.record_json import JsonObject, to_json
from serve_app.core.run import Run
from serve_app.core.types import Delta, Failure, Outcome

logger = logging.getLogger(__name__)

KEEPALIVE = b": waiting for the models\n\n"


class EventStream(StreamingResponse):
    """The response that streams an exchange, and closes it however the stream ends.

    Starlette leaves an interrupted stream to the garbage collector, and never closes one that did not start.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._events = server_sent_events(exchange)
        super().__init__(self._events, media_type="text/event-stream", headers={"cache-control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._events):
                await while_connected(receive, self.stream_response(send))
        finally:
            if not self._exchange.closed:
                self._exchange.close(None)


async def server_sent_events(exchange: Exchange) -> AsyncGenerator[bytes, None]:
    """Yield the whole stream. It opens at once; a failure after that is an `error` event."""
    dialect = exchange.dialect
    outcome: Outcome | None = None
    try:
        if opening := dialect.opening():
            yield _event(opening)
        async with aclosing(_with_keepalive(exchange.run, exchange.keepalive_s)) as events:
            async for event in events:
                if event is None:
                    yield KEEPALIVE
                elif isinstance(event, Delta) and event.text:
                    yield _event(dialect.delta(event.text))
                elif isinstance(event, Outcome):
                    outcome = event
        assert outcome is not None
        record = exchange.close(outcome)
        if isinstance(outcome.answer, Failure):
            content = failure_body(outcome.answered_by, outcome.answer, dialect.prompt_field)
            yield b"event: error\n" + _event(content | {"cascade": to_json(record)})
            return
        chunks = [dialect.tool_calls(outcome.answer)] if outcome.answer.tool_calls else []
        chunks.append(dialect.ending(outcome.answer))
        if dialect.include_usage:
            chunks.append(dialect.usage(usage(exchange.run.calls)))
        chunks[-1]["cascade"] = to_json(record)
        for chunk in chunks:
            yield _event(chunk)
        yield b"data: [DONE]\n\n"
    except Exception as error:
        # The response has started, so the app's exception handlers cannot answer any more.
        logger.error("Unexpected error in a stream", exc_info=error)
        yield b"event: error\n" + _event(error_body(BUG, kind="server_error"))


async def _with_keepalive(run: Run, period_s: float) -> AsyncGenerator[Event | None, None]:
    """Yield the cascade's events, and None whenever there was none for `period_s` seconds."""
    async with aclosing(cascade_events(run)) as events:
        while True:
            waiting = asyncio.ensure_future(anext(events))
            try:
                while not waiting.done():
                    await asyncio.wait({waiting}, timeout=period_s)
                    if not waiting.done():
                        yield None
            finally:
                if not waiting.done():
                    waiting.cancel()
                    await asyncio.gather(waiting, return_exceptions=True)
            try:
                yield waiting.result()
            except StopAsyncIteration:
                return


def _event(data: JsonObject) -> bytes:
    return b"data: " + encoded(data) + b"\n\n"
