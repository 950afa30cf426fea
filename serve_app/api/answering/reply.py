"""Answers of one exchange as HTTP responses: plain, streamed, or an error."""

from fastapi import Request, Response
from starlette.types import Scope

from serve_app.api.answering.exchange import Exchange, while_connected
from serve_app.api.decision_headers import decision_headers
from serve_app.api.encoding import Reply
from serve_app.api.errors.detail import failure_detail, failure_headers
from serve_app.api.errors.shape import error_reply
from serve_app.api.intake.route import CLIENT_LEFT
from serve_app.core.record import DecisionRecord, reported_calls, usage
from serve_app.core.record_json import to_json
from serve_app.core.running.cascade import outcome_of
from serve_app.core.types.answer import Failure
from serve_app.core.types.outcome import Outcome


async def plain_response(exchange: Exchange, request: Request) -> Response:
    """Run the exchange to its end and return the whole response; a client that leaves ends it."""
    outcome: Outcome | None = None
    try:
        outcome = await while_connected(request.receive, outcome_of(exchange.events()))
    finally:
        record = exchange.close(outcome)
    if outcome is None:
        return Response(status_code=CLIENT_LEFT)
    if isinstance(outcome.answer, Failure):
        return failure_reply(exchange, outcome, record, request.scope)
    token_usage = usage(reported_calls(exchange.run, outcome))
    content = await exchange.format.response(outcome.returned, token_usage, record)
    return Reply(content, headers=decision_headers(record))


def failure_reply(exchange: Exchange, outcome: Outcome, record: DecisionRecord, scope: Scope) -> Reply:
    """Build the response for a request whose last model failed."""
    failure = outcome.answer
    assert isinstance(failure, Failure)
    detail = failure_detail(outcome.answered_by, failure, exchange.format.field_names)
    headers = decision_headers(record) | failure_headers(failure)
    return error_reply(detail, scope, headers, cascade=to_json(record))
