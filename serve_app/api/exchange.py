"""One request and its answer, opened and closed once; and work that ends when the client leaves."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from starlette.types import Receive

from serve_app.api.conversion import Dialect, to_prompt
from serve_app.api.conversion import headers as record_headers
from serve_app.api.encoding import Reply
from serve_app.api.errors import FAILURE_STATUS, failure_body, failure_headers
from serve_app.api.schema import ChatCompletion, TextCompletion
from serve_app.api.service import Service
from serve_app.api.trace_context import trace_context
from serve_app.core.record import DecisionRecord
from serve_app.core.record_json import to_json
from serve_app.core.types import Failure, Outcome

T = TypeVar("T")


class Exchange:
    """A request from its opening to its record, which is made exactly once, however the request ends.

    Raises `UnknownModelError` or `RequestError` if the service refuses it.
    """

    def __init__(self, service: Service, body: ChatCompletion | TextCompletion, headers: Mapping[str, str]) -> None:
        self.dialect = Dialect(body)
        self.keepalive_s = service.keepalive_s
        self.stream_open_s = service.stream_open_s
        prompt = replace(to_prompt(body, service.names), trace=trace_context(headers))
        self.run = service.open(body.model, prompt, body.cascade, stream=body.stream)
        self.closed = False
        self._service = service
        self._options = body.cascade

    def close(self, outcome: Outcome | None) -> DecisionRecord:
        """End the request and return its decision record. `outcome` is None if it was cancelled or broke off."""
        assert not self.closed
        self.closed = True
        return self._service.close(self.dialect.model, self.run, outcome, self._options)


def failure_reply(outcome: Outcome, record: DecisionRecord, prompt_field: str) -> Reply:
    """Build the response for a request whose last model failed."""
    failure = outcome.answer
    assert isinstance(failure, Failure)
    content = failure_body(outcome.answered_by, failure, prompt_field) | {"cascade": to_json(record)}
    return Reply(content, FAILURE_STATUS[failure.kind], record_headers(record) | failure_headers(failure))


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `work`, or None if the client disconnected first and `work` was cancelled."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and leaving.exception() is None:
            return None
        return await working
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
