"""Several prompts in one request: each is a run of its own, and all succeed or the request fails."""

import asyncio
from collections.abc import Sequence

from fastapi import Request, Response

from serve_app.api.answering.exchange import Exchange, completed, while_connected
from serve_app.api.answering.reply import failure_reply
from serve_app.api.chat.format import CompletionFormat
from serve_app.api.encoding import Reply
from serve_app.api.intake.ask import Ask
from serve_app.api.intake.caller import caller_of
from serve_app.api.intake.route import CLIENT_LEFT
from serve_app.api.service import Service
from serve_app.core.record import reported_calls, usage
from serve_app.core.running.cascade import outcome_of
from serve_app.core.types.answer import Failure
from serve_app.core.types.outcome import Outcome


async def respond_to_all(service: Service, asks: Sequence[Ask], form: CompletionFormat, request: Request) -> Response:
    """Run all at once and return their answers in order. One that fails stops the others and fails the request.

    Raises `UnknownModelError` or `RequestError` if the service refuses them.
    """
    exchanges: list[Exchange] = []
    outcomes: Sequence[Outcome | None] | None = None
    complete = await completed(service, asks, request.headers, caller_of(request.scope))
    try:
        # One by one: if a later one is refused, those before it are closed. None waits, since each holds places.
        exchanges += (Exchange(service, ask, form) for ask in complete)
        outcomes = await while_connected(request.receive, _run_all(exchanges))
    finally:
        final_outcomes = outcomes or [None] * len(exchanges)
        records = [exchange.close(outcome) for exchange, outcome in zip(exchanges, final_outcomes, strict=True)]
    if outcomes is None:
        return Response(status_code=CLIENT_LEFT)
    for exchange, outcome, record in zip(exchanges, outcomes, records, strict=True):
        if outcome is not None and isinstance(outcome.answer, Failure):
            return failure_reply(exchange, outcome, record, request.scope)
    runs = [
        (exchange.run, outcome) for exchange, outcome in zip(exchanges, outcomes, strict=True) if outcome is not None
    ]
    answers = [answer for _, outcome in runs for answer in outcome.returned]
    token_usage = usage(call for run, outcome in runs for call in reported_calls(run, outcome))
    return Reply(form.responses(answers, token_usage, records))


async def _run_all(exchanges: Sequence[Exchange]) -> list[Outcome | None]:
    """Return the outcome of each run, or None if it was stopped because another failed."""
    tasks = [asyncio.create_task(outcome_of(exchange.events())) for exchange in exchanges]
    pending = set(tasks)
    try:
        while pending:
            finished_tasks, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if any(isinstance(task.result().answer, Failure) for task in finished_tasks):
                break
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [None if task.cancelled() else task.result() for task in tasks]
