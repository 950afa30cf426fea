"""Halves of surrogate pairs, which JSON's escapes can express (`"\\ud83d"`) and which are no characters.

One rule everywhere: what a user or a client writes is refused, with the field that has the half; what a model or a
server answers is read with U+FFFD in its place.
"""

from typing import Any

HALF_PAIR = "has half of a surrogate pair, which is not a character"


def whole(text: str) -> str:
    """Return the text with halves of a pair joined, and U+FFFD for each half without the other."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def utf8(text: str) -> bytes:
    """Return the bytes of the text in whole characters."""
    return whole(text).encode()


def half_at(value: Any) -> str | None:
    """Return the path of the first text with half a pair in a JSON value, such as `messages[0].content`, or None."""
    remaining = [("", value)]
    while remaining:
        path, item = remaining.pop()
        if isinstance(item, str) and whole(item) != item:
            return path
        remaining += reversed(_children(path, item))
    return None


def _children(path: str, value: Any) -> list[tuple[str, Any]]:
    """Return path and value of an object's names and fields, or of a list's items."""
    if isinstance(value, list):
        return [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return []
    fields = [(whole(f"{path}.{name}" if path else name), name, item) for name, item in value.items()]
    return [pair for where, name, item in fields for pair in ((where, name), (where, item))]
