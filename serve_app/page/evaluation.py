"""The evaluation of a records file dropped on the page: the file in, server-sent events out."""

from collections.abc import AsyncIterator
from typing import Protocol

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.errors.shape import error_reply
from serve_app.api.intake.route import CLIENT_LEFT, CLOSE
from serve_app.page.streams import HeldStream, refusal

MOST_BYTES = 50_000_000
MEDIA_TYPE = "application/jsonl"
"""A media type that no form of another site can send."""
RETRY_S = 10
BUSY = ErrorDetail(429, "Other records are being evaluated.", "rate_limit_error", code="overloaded")
NO_RECORDS = ErrorDetail(415, f"Send a records file as {MEDIA_TYPE}.")


class Evaluation(Protocol):
    """The evaluation of one file."""

    def events(self) -> AsyncIterator[bytes]:
        """Yield server-sent events: each `step`, then the `report` with `notes`, or a `problem`; then [DONE]."""
        ...

    async def close(self) -> None:
        """End the evaluation at any point, and free what it takes."""
        ...


class Evaluator(Protocol):
    """Evaluates records files."""

    @property
    def busy(self) -> bool:
        """Return whether a file is being evaluated now."""
        ...

    async def begin(self, records: AsyncIterator[bytes]) -> Evaluation:
        """Take a file in, and return its evaluation, which is to be closed."""
        ...


def install_evaluation(app: FastAPI, evaluator: Evaluator) -> None:
    """Make the app evaluate records, for operators only, one file at a time."""

    @app.post("/page/evaluate", include_in_schema=False)
    async def evaluate(request: Request) -> Response:
        if refused := refusal(request, "The evaluation of records"):
            return error_reply(refused, request.scope)
        if request.headers.get("content-type") != MEDIA_TYPE:
            return error_reply(NO_RECORDS, request.scope)
        if evaluator.busy:
            return error_reply(BUSY, request.scope, {"retry-after": str(RETRY_S)})
        try:
            evaluation = await evaluator.begin(_bounded(request.stream()))
        except ClientDisconnect:
            return Response(status_code=CLIENT_LEFT)
        return HeldStream(evaluation.events(), evaluation.close)


async def _bounded(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for part in parts:
        size += len(part)
        if size > MOST_BYTES:
            raise HTTPException(413, f"Records of more than {MOST_BYTES} bytes: use `cascade evaluate`.", CLOSE)
        yield part
