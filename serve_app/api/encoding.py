"""What goes out: JSON in UTF-8, whatever a model wrote."""

import json
from typing import Any

from fastapi.responses import JSONResponse


def encoded(value: Any) -> bytes:
    """JSON in UTF-8."""
    return utf8(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def utf8(text: str) -> bytes:
    """Half of a surrogate pair is U+FFFD: JSON's escapes can say it, and so can models."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


class Reply(JSONResponse):
    """A whole JSON response."""

    def render(self, content: Any) -> bytes:
        return encoded(content)
