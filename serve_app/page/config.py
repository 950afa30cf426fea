"""The config view: the graph in force, and the report of `cascade check` on a pasted config."""

from typing import Protocol

from fastapi import FastAPI, Request, Response
from pydantic import Field

from serve_app.api.encoding import Reply
from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.errors.shape import error_reply
from serve_app.api.fields.body import Body, Text
from serve_app.core.record_json import JsonObject
from serve_app.page.streams import refusal

MOST_CHARACTERS = 256_000
RETRY_S = 5
BUSY = ErrorDetail(429, "Another config is being checked.", "rate_limit_error", code="overloaded")


class CheckRequest(Body):
    """`POST /page/check`: the text of a config file."""

    yaml: Text = Field(max_length=MOST_CHARACTERS, description="The file's text.")


class Shown(Protocol):
    """The config in force, for the page."""

    async def graph(self) -> JsonObject:
        """Return tiers, models and deployments, without anything secret."""
        ...


class Checker(Protocol):
    """Checks the text of a config."""

    @property
    def busy(self) -> bool:
        """Return whether a config is being checked now."""
        ...

    async def check(self, text: str) -> JsonObject:
        """Return whether a config is `valid`, the `lines` about it, and `warnings`."""
        ...


def install_config(app: FastAPI, shown: Shown, checker: Checker) -> None:
    """Make the app answer what the config view asks, for operators only."""

    @app.get("/page/config", include_in_schema=False)
    async def config(request: Request) -> Response:
        if refused := refusal(request, "The config view"):
            return error_reply(refused, request.scope)
        return Reply(await shown.graph())

    @app.post("/page/check", include_in_schema=False)
    async def check(body: CheckRequest, request: Request) -> Response:
        if refused := refusal(request, "The config view"):
            return error_reply(refused, request.scope)
        if checker.busy:
            return error_reply(BUSY, request.scope, {"retry-after": str(RETRY_S)})
        return Reply(await checker.check(body.yaml))
