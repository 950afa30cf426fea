"""HEAD for every path that takes GET: the same status and headers, without the body."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def allowed_methods(allow: str) -> str:
    """Return a value of `Allow` with HEAD wherever it has GET, in the order of the alphabet."""
    methods = set(allow.split(", "))
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


class HeadMiddleware:
    """Answers HEAD as GET, and leaves the body out. FastAPI's own routes take GET only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        if scope.get("method") == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, send_head)
        else:
            await self._app(scope, receive, send)
