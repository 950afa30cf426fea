"""The gate of a server: it counts the requests in progress, and refuses new ones once the server is to stop."""

from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.errors.shape import error_reply

RETRY_AFTER_S = 10
"""About what a restart takes with weights in the cache; OpenAI's clients wait as long before they try again."""
STOPPING = ErrorDetail(
    503, "The server is stopping: it finishes the requests that it has, and takes no new ones.", "server_error"
)


@dataclass
class Gate:
    """Whether new requests are refused, and how many are in progress."""

    closed: bool = False
    in_progress: int = 0


class GateMiddleware:
    """Answers POST with 503 while the gate is closed. Everything else, such as health, costs no model and passes."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "POST":
            await self._app(scope, receive, send)
        elif self._gate.closed:
            reply = error_reply(STOPPING, scope, {"retry-after": str(RETRY_AFTER_S)})
            await reply(scope, receive, send)
        else:
            self._gate.in_progress += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._gate.in_progress -= 1
