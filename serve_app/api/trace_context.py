"""W3C Trace Context (https://www.w3.org/TR/trace-context/): the headers by which a request is part of a trace."""

import re
from collections.abc import Mapping

_PARENT = re.compile("(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
MAX_STATE_CHARACTERS = 512
"""As much of other vendors' `tracestate` as the standard asks to pass on; a longer one is left out."""


def trace_context(headers: Mapping[str, str]) -> dict[str, str]:
    """`traceparent`, with `tracestate` if it came along; nothing where the former is missing or malformed."""
    parent, state = headers.get("traceparent", "").strip(), headers.get("tracestate", "").strip()
    if not _PARENT.fullmatch(parent):
        return {}
    usable = bool(state) and len(state) <= MAX_STATE_CHARACTERS and state.isascii() and state.isprintable()
    return {"traceparent": parent} | ({"tracestate": state} if usable else {})
