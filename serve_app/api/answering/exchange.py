"""One request and its answer, opened and closed once; and work that ends when the client leaves."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from dataclasses import replace
from math import inf, nan
from typing import Any, TypeVar

from starlette.types import Receive

from serve_app.api.answering.answer_format import AnswerFormat
from serve_app.api.errors.detail import renamed
from serve_app.api.fields.cascade_options import MAX_SESSION, CascadeOptions
from serve_app.api.intake.ask import TIMEOUT_HEADER, Ask
from serve_app.api.intake.caller import Caller
from serve_app.api.service import Service, card_of
from serve_app.api.trace_context import trace_context
from serve_app.core.record import DecisionRecord, usage
from serve_app.core.running.cascade import Event
from serve_app.core.running.progress import Progress, merged
from serve_app.core.running.run import Run
from serve_app.core.types.outcome import Outcome
from serve_app.errors import RequestError, quoted

T = TypeVar("T")
SESSION_HEADER = "x-session-id"
NO_CACHE = {"no-cache", "no-store"}


class Exchange:
    """A request from its opening to its record, which is made exactly once, however the request ends.

    Raises `UnknownModelError` or `RequestError` if the service refuses it.
    """

    def __init__(self, service: Service, ask: Ask, form: AnswerFormat) -> None:
        self.format = form
        self.keepalive_s = service.keepalive_s
        self.stream_open_s = service.stream_open_s
        self._ask = ask
        try:
            self._request = service.open(ask)
        except RequestError as error:
            raise type(error)(*renamed(error.message, error.param, form.field_names), error.code) from None
        self.closed = False

    @property
    def run(self) -> Run:
        """Return what the request asks, and all that it has spent so far."""
        return self._request.run

    @property
    def watched(self) -> bool:
        """Return whether the stream has events about the cascade's progress."""
        return self._ask.watched

    def events(self) -> AsyncGenerator[Event, None]:
        """Return the events of the run, which starts with the first."""
        return self._request.events()

    def watched_events(self) -> AsyncGenerator[Event | Progress, None]:
        """Return the events of the run, and the progress of its models beside them."""
        progress: asyncio.Queue[Event | Progress | None] = asyncio.Queue()
        self.run.watch = progress.put_nowait
        return merged(self._request.events(), progress)

    def close(self, outcome: Outcome | None) -> DecisionRecord:
        """End the request and return its decision record. `outcome` is None if it was cancelled or broke off."""
        assert not self.closed
        self.closed = True
        record = self._request.close(outcome)
        self._ask.caller.spend(usage(self.run.calls).total_tokens, record.cost.usd)
        return record


async def opened(
    service: Service, ask: Ask, form: AnswerFormat, headers: Mapping[str, str], caller: Caller
) -> Exchange:
    """Return the exchange of a request with one prompt, completed as by `completed`.

    Raises `UnknownModelError` or `RequestError` if the service refuses it.
    """
    [complete] = await completed(service, [ask], headers, caller)
    return Exchange(service, complete, form)


async def completed(service: Service, asks: Sequence[Ask], headers: Mapping[str, str], caller: Caller) -> list[Ask]:
    """Return what a request asks, completed by its headers and by what is remembered of its conversation.

    The `asks` differ in their prompts alone, so that the conversation is looked up once. Raises `UnknownModelError` or
    `RequestError` if the caller may not ask for the model, or a header is invalid.
    """
    ask = asks[0]
    if caller.models is not None:
        card_of(service, ask.model, caller)  # raises an error that names only models which the caller may ask for
    options = _with_cache_control(_with_session(ask.options, headers), headers)
    timeout_s = _timeout_s(headers, ask.choices)
    recalled = await service.recall(replace(ask, options=options, timeout_s=timeout_s, caller=caller))
    trace = trace_context(headers)
    return [replace(recalled, prompt=replace(request_ask.prompt, trace=trace)) for request_ask in asks]


def _with_session(options: CascadeOptions, headers: Mapping[str, str]) -> CascadeOptions:
    """Return the options with the header's session if they name none. Raises `RequestError` if it is too long."""
    session = headers.get(SESSION_HEADER)
    if not session or options.session is not None:
        return options
    if len(session) > MAX_SESSION:
        raise RequestError(f"{SESSION_HEADER}: must have at most {MAX_SESSION} characters.", SESSION_HEADER)
    return options.model_copy(update={"session": session})


def _timeout_s(headers: Mapping[str, str], answers: int) -> float | None:
    """Return the header's time limit, or None.

    Raises `RequestError` if it is invalid, or if the request wants several answers.
    """
    text = headers.get(TIMEOUT_HEADER)
    if text is None:
        return None
    try:
        limit_s = float(text)
    except ValueError:
        limit_s = nan
    if not 0 < limit_s < inf:
        message = f"{TIMEOUT_HEADER}: must be a number of seconds above 0, got {quoted(text)}."
        raise RequestError(message, TIMEOUT_HEADER)
    if answers > 1:
        raise RequestError(f"{TIMEOUT_HEADER}: a request with a time limit has one answer (n).", TIMEOUT_HEADER)
    return limit_s


def _with_cache_control(options: CascadeOptions, headers: Mapping[str, str]) -> CascadeOptions:
    """Return the options without a cache if the client says so by HTTP's own header."""
    directives = {directive.strip().lower() for directive in headers.get("cache-control", "").split(",")}
    return options if directives.isdisjoint(NO_CACHE) else options.model_copy(update={"cache": False})


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
