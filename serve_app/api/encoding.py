"""Responses as JSON in UTF-8, whatever a model wrote."""

import json
from typing import Any

from fastapi.responses import JSONResponse

from serve_app.core.text.characters import utf8


def encoded(value: Any) -> bytes:
    """Return JSON in UTF-8. Raises `ValueError` for NaN and infinities."""
    return utf8(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def event(data: Any, name: str | None = None) -> bytes:
    """Return a server-sent event; without a name it is a `message`."""
    prefix = b"" if name is None else f"event: {name}\n".encode()
    return prefix + b"data: " + encoded(data) + b"\n\n"


KEEPALIVE = b": waiting for the models\n\n"
"""A comment line of a stream, which clients skip."""


class Reply(JSONResponse):
    """A whole JSON response."""

    def render(self, content: Any) -> bytes:
        return encoded(content)
