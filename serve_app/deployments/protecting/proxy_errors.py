"""Errors of Ray Serve's proxy in the API's shape, and a second try if a router died.

Serve's own errors are plain text, and it does not report a router that died, so that clients see a bare 500 or
a connection that ends in the middle. Its proxies get this middleware by `config.ray_rules.PROXY_SETTINGS`.
"""

from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.encoding import event
from serve_app.api.errors.detail import ErrorDetail, retry_after
from serve_app.api.errors.shape import error_body, error_reply
from serve_app.deployments.observing.logs import drop_unwritable_lines

REPEATABLE_BYTES = 4_000_000
"""A longer request is not kept for a second try."""
TRIES = 2
"""One more than the first, so that a request that kills its router kills at most two."""
RETRY_AFTER_S = 5.0
"""About what Serve needs to replace a router."""
DIED = ErrorDetail(503, "The router that had this request has stopped.", "server_error", code="unavailable")
BROKEN = ErrorDetail(
    503,
    "The answer broke off: its router has stopped, or http_options.request_timeout_s was over.",
    "server_error",
    code="unavailable",
)
OWN = (404, 408, 429, 503)
"""The statuses of Serve's own answers to requests for an application."""
SERVE_PATHS = "/-/"
"""What is asked of the proxy itself, by Kubernetes' probes for one."""


def middlewares() -> list[Middleware]:
    """Return what Serve's proxies wrap around every request."""
    drop_unwritable_lines()
    return [Middleware(ProxyErrorsMiddleware)]


@dataclass
class _Body:
    """A request's body as it was received, to be received once more."""

    receive: Receive
    messages: list[Message] = field(default_factory=list)
    bytes: int = 0
    disconnected: bool = False
    """Whether the client has gone."""

    @property
    def repeatable(self) -> bool:
        return not self.disconnected and self.bytes <= REPEATABLE_BYTES

    def again(self) -> Receive:
        """Return a `receive` that begins with what was received before."""
        before = iter(list(self.messages))

        async def receive() -> Message:
            for message in before:
                return message
            message = await self.receive()
            self.disconnected = self.disconnected or message["type"] == "http.disconnect"
            self.bytes += len(message.get("body", b""))
            if self.repeatable:
                self.messages.append(message)
            return message

        return receive


@dataclass
class _Answer:
    """What the proxy sends, held back if it is an error of its own."""

    send: Send
    own: Message | None = None
    """The start of an error of Serve's."""
    text: str = ""
    started: bool = False
    ended: bool = False
    streams_events: bool = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = Headers(raw=message.get("headers", []))
            if message["status"] in OWN and headers.get("content-type", "").startswith("text/plain"):
                self.own = message
                return
            self.started = True
            self.streams_events = headers.get("content-type", "").startswith("text/event-stream")
        elif self.own is not None:
            self.text += message.get("body", b"").decode(errors="replace")
            return
        else:
            self.ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self.send(message)


class ProxyErrorsMiddleware:
    """Gives Serve's own errors the shape of the API's, and asks once more if a router died before it answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(SERVE_PATHS):
            await self._app(scope, receive, send)
            return
        body = _Body(receive)
        answer = _Answer(send)
        for _ in range(TRIES):
            tried = dict(scope)  # Serve moves the application's prefix from the path to the root path
            await self._app(tried, body.again(), answer)
            if answer.started or answer.own is not None or not body.repeatable:
                break
        if answer.ended or body.disconnected:
            return
        if answer.started:
            if answer.streams_events:
                await send({"type": "http.response.body", "body": event(error_body(BROKEN, tried), "error")})
            return
        detail, headers = DIED, retry_after(RETRY_AFTER_S)
        if answer.own is not None:
            detail, headers = _own_error(answer.own, answer.text)
        await error_reply(detail, tried, headers)(tried, receive, send)


def _own_error(start: Message, text: str) -> tuple[ErrorDetail, dict[str, str]]:
    """Return Serve's error as one of ours, with headers for when to try again if it may pass."""
    status = start["status"]
    if status == 404:
        return ErrorDetail(404, "No application is deployed at this path.", code="not_found"), {}
    if status == 408:
        message = "The request took longer than http_options.request_timeout_s allows."
        return ErrorDetail(504, message, "server_error", code="timeout"), {"x-should-retry": "false"}
    seconds = Headers(raw=start["headers"]).get("retry-after")
    later = {"retry-after": seconds} if seconds else retry_after(RETRY_AFTER_S)
    if "backpressure" in text:
        return ErrorDetail(status, "The router is full.", "rate_limit_error", code="overloaded"), later
    return ErrorDetail(status, "There is no router that could answer.", "server_error", code="unavailable"), later
