"""What a request body may cost: its size, its time to arrive, and the number and nesting of its JSON values."""

import re
from dataclasses import dataclass

from serve_app.errors import RequestError


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one request body; the router's config has the defaults."""

    max_body_bytes: int
    body_timeout_s: float
    max_messages: int
    max_json_values: int
    max_json_depth: int


_STRINGS = re.compile(rb'"[^"]*"?')
_STRUCTURE = b'"[]{},'
_OTHER = bytes(set(range(256)) - set(_STRUCTURE))


def check_json(body: bytes, limits: Limits) -> None:
    """Raise `RequestError` if a body has too many JSON values or is nested too deeply, without parsing it.

    Every step is one pass at the speed of memory, because parsing holds the interpreter's lock until it is done.
    """
    # In JSON only strings have backslashes, and a run of them is read in pairs from its beginning.
    marks = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _OTHER)
    strings = marks.count(b'"') // 2  # at most one name and one value for each value that is counted below
    if strings <= 2 * limits.max_json_values + 1:
        marks = _STRINGS.sub(b"", marks)
    values = sum(map(marks.count, b",[{"))
    if values > limits.max_json_values or strings > 2 * limits.max_json_values + 1:
        raise RequestError(f"The request body has more than {limits.max_json_values} JSON values.")
    if _depth(marks) > limits.max_json_depth:
        raise RequestError(f"The request body is nested deeper than {limits.max_json_depth} levels.")


def _depth(marks: bytes) -> int:
    depth = deepest = 0
    for mark in marks.translate(None, b","):
        depth += 1 if mark in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
