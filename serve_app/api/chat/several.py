"""Several prompts in one request: each is a run of its own, and all succeed or the request fails."""

import asyncio
from collections.abc import Sequence

from fastapi import Request, Response

from serve_app.api.chat.format import CompletionFormat
from serve_app.api.encoding import Reply
from serve_app.api.exchange import Ask, Exchange, while_connected
from serve_app.api.intake.route import CLIENT_LEFT
from serve_app.api.reply import failure_reply
from serve_app.api.service import Service
from serve_app.core.record import usage
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.types import Failure, Outcome


async def respond_to_all(service: Service, asks: Sequence[Ask], form: CompletionFormat, request: Request) -> Response:
    """Run all at once and return their answers in order. One that fails stops the others and fails the request.

    Raises `UnknownModelError` or `RequestError` if the service refuses them.
    """
    exchanges: list[Exchange] = []
    outcomes: Sequence[Outcome | None] | None = None
    try:
        exchanges += (Exchange(service, ask, form, request.headers) for ask in asks)
        outcomes = await while_connected(request.receive, _run_all([exchange.run for exchange in exchanges]))
    finally:
        ended = outcomes or [None] * len(exchanges)
        records = [exchange.close(outcome) for exchange, outcome in zip(exchanges, ended, strict=True)]
    if outcomes is None:
        return Response(status_code=CLIENT_LEFT)
    for exchange, outcome, record in zip(exchanges, outcomes, records, strict=True):
        if outcome is not None and isinstance(outcome.answer, Failure):
            return failure_reply(exchange, outcome, record, request.scope)
    answers = [answer for outcome in outcomes if outcome is not None for answer in outcome.returned]
    spent = usage(call for exchange in exchanges for call in exchange.run.calls)
    return Reply(form.responses(answers, spent, records))


async def _run_all(runs: Sequence[Run]) -> list[Outcome | None]:
    """Return the outcome of each run, or None if it was stopped because another failed."""
    tasks = [asyncio.create_task(run_cascade(run)) for run in runs]
    pending = set(tasks)
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if any(isinstance(task.result().answer, Failure) for task in done):
                break
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [None if task.cancelled() else task.result() for task in tasks]
