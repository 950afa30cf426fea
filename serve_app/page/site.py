"""The page's files and data, with the headers that keep foreign scripts out of it."""

from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.error_detail import ErrorDetail
from serve_app.api.error_shape import error_reply
from serve_app.core.loopback import is_loopback

FILES = Path(__file__).with_name("static")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host")
"""Headers by which a proxy on this machine says that a request came from elsewhere."""
ELSEWHERE = ErrorDetail(
    404, "The page is served on loopback addresses alone; with router.page: true it is served at every address."
)


def install_page(app: FastAPI, *, everywhere: bool) -> None:
    """Serve the page at `/`: at every address, or else only to clients on this machine."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(FILES / "index.html", headers={"cache-control": "no-cache"})

    app.mount("/page/static", StaticFiles(directory=FILES))
    app.add_middleware(PageMiddleware, everywhere=everywhere)


class PageMiddleware:
    """Adds the page's headers to `/` and all below `/page/`, and refuses both elsewhere unless `everywhere` is set."""

    def __init__(self, app: ASGIApp, everywhere: bool) -> None:
        self._app = app
        self._everywhere = everywhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _of_page(scope):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        if self._everywhere or _from_here(scope, FORWARDED):
            await self._app(scope, receive, send_with_headers)
        else:
            await error_reply(ELSEWHERE, scope)(scope, receive, send_with_headers)


def _of_page(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
    return path == "/" or path.startswith("/page/")


def _from_here(scope: Scope, forwarded: Sequence[str]) -> bool:
    """Return whether a request arrived at a loopback address, and no proxy says that it came from elsewhere."""
    headers = Headers(scope=scope)
    return is_loopback((scope.get("server") or (None,))[0]) and not any(name in headers for name in forwarded)
