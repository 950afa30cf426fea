"""The path of the reference, with the headers that keep everything foreign out of it."""

from functools import cache

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from serve_app.api.html_headers import html_headers
from serve_app.api.reference.page import STYLE_SOURCE, reference_page

PATH = "/docs"
HEADERS = html_headers(f"style-src {STYLE_SOURCE}; img-src data:")


def install(app: FastAPI) -> None:
    """Make the app answer `/docs`. The page is rendered when it is asked for the first time."""
    app.docs_url = PATH  # which FastAPI was told not to serve, and Ray's dashboard links to

    @cache
    def page() -> str:
        return reference_page(app.openapi())

    @app.get(PATH, include_in_schema=False)
    async def reference() -> HTMLResponse:
        return HTMLResponse(page(), headers=HEADERS)
