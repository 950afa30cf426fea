"""W3C Trace Context (https://www.w3.org/TR/trace-context/): the headers that make a request part of a trace."""

import re
from collections.abc import Mapping

_PARENT = re.compile("(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
MAX_STATE_CHARACTERS = 512
"""The length of `tracestate` that the standard requires to pass on; a longer one is left out."""


def trace_context(headers: Mapping[str, str]) -> dict[str, str]:
    """Return `traceparent`, with `tracestate` if present; nothing if `traceparent` is missing or malformed."""
    parent, state = headers.get("traceparent", "").strip(), headers.get("tracestate", "").strip()
    if not _PARENT.fullmatch(parent):
        return {}
    usable = bool(state) and len(state) <= MAX_STATE_CHARACTERS and state.isascii() and state.isprintable()
    return {"traceparent": parent} | ({"tracestate": state} if usable else {})
