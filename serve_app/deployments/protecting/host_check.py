"""Names by which a server on this machine may be called: a page in a browser must not reach it by a name of its own."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.errors.shape import error_reply
from serve_app.api.intake.caller import behind_haproxy
from serve_app.common.loopback import is_loopback
from serve_app.errors import quoted


class HostCheckMiddleware:
    """Refuses requests that arrive at a loopback address under a name that is neither local nor among `allowed`.

    A web page can make its own name lead to 127.0.0.1 (DNS rebinding); browsers then take the server for a part of that
    page, and let it read answers. Requests that arrive at another address have been let in by its operator; behind
    Ray Serve's HAProxy all arrive at this one, and need a key.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        self._allowed = {name.lower() for name in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._may_pass(scope):
            await self._app(scope, receive, send)
            return
        name = _name(scope) or ""
        message = f"Host: {quoted(name)} is not a name of this server; router.allowed_hosts can name it."
        await error_reply(ErrorDetail(403, message, code="host_not_allowed"), scope)(scope, receive, send)

    def _may_pass(self, scope: Scope) -> bool:
        address = (scope.get("server") or (None,))[0]
        if not is_loopback(address) or behind_haproxy() or "*" in self._allowed:
            return True
        name = _name(scope)
        return name is None or is_loopback(name) or name in self._allowed


def _name(scope: Scope) -> str | None:
    """Return the host of the Host header in small letters, without its port; None if there is no header."""
    host = Headers(scope=scope).get("host")
    if host is None:
        return None
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()
