"""The page's files and data, with the headers that keep foreign scripts out of it."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.errors.shape import error_reply
from serve_app.api.html_headers import html_headers
from serve_app.api.intake.caller import from_this_machine

FILES = Path(__file__).with_name("static")
HEADERS = html_headers("script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:")
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

        if self._everywhere or from_this_machine(scope):
            await self._app(scope, receive, send_with_headers)
        else:
            await error_reply(ELSEWHERE, scope)(scope, receive, send_with_headers)


def _of_page(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
    return path == "/" or path.startswith("/page/")
