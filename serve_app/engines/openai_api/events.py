"""Event streams of endpoints as the official client can read them."""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r){2}")
_DATA = re.compile(rb"^data:[ \t]*[^\s]", re.MULTILINE)


async def clean_events(response: Any) -> None:
    """Make an event stream's bytes come without what the client stumbles over; a hook of its HTTP library."""
    if "text/event-stream" in response.headers.get("content-type", ""):
        response.aiter_bytes = _cleaned(response.aiter_bytes)


def _cleaned(read: Callable[[], AsyncIterator[bytes]]) -> Callable[[], AsyncIterator[bytes]]:
    async def events() -> AsyncIterator[bytes]:
        """Yield whole events: without a byte order mark before the first, and none that has no data."""
        rest, at_start = b"", True
        async for chunk in read():
            rest += chunk
            if at_start and len(rest) >= len(BYTE_ORDER_MARK):
                rest, at_start = rest.removeprefix(BYTE_ORDER_MARK), False
            while (blank := _BLANK_LINE.search(rest)) is not None:
                event, rest = rest[: blank.end()], rest[blank.end() :]
                if _DATA.search(event):
                    yield event
        if _DATA.search(rest):
            yield rest

    return events
