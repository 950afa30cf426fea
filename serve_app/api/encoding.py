"""Responses as JSON in UTF-8, whatever a model wrote."""

import json
from typing import Any

from fastapi.responses import JSONResponse


def encoded(value: Any) -> bytes:
    """Return JSON in UTF-8. Raises `ValueError` for NaN and infinities."""
    return utf8(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def utf8(text: str) -> bytes:
    """Encode, with U+FFFD for half of a surrogate pair, which JSON's escapes can express and models can write."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


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
