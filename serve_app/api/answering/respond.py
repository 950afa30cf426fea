"""A request that an API has read -> the response, plain or streamed."""

from fastapi import Request, Response

from serve_app.api.answering.answer_format import AnswerFormat
from serve_app.api.answering.exchange import opened
from serve_app.api.answering.reply import plain_response
from serve_app.api.answering.stream import EventStream
from serve_app.api.intake.ask import Ask
from serve_app.api.intake.caller import caller_of
from serve_app.api.service import Service


async def respond(service: Service, ask: Ask, form: AnswerFormat, request: Request) -> Response:
    """Return the response to a request. Raises `RequestError` if the service refuses it."""
    exchange = await opened(service, ask, form, request.headers, caller_of(request.scope))
    return EventStream(exchange) if ask.stream else await plain_response(exchange, request)
