"""Event streams of endpoints as the official client can read them."""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_DATA = re.compile(rb"(?:\A|[\r\n])data:[ \t]*[^\s]")


async def clean_events(response: Any) -> None:
    """Strip what the client cannot parse from an event stream's bytes; a hook of its HTTP library."""
    if "text/event-stream" in response.headers.get("content-type", ""):
        response.aiter_bytes = _cleaned(response.aiter_bytes)


def _cleaned(read: Callable[[], AsyncIterator[bytes]]) -> Callable[[], AsyncIterator[bytes]]:
    async def events() -> AsyncIterator[bytes]:
        """Yield whole events that have data, without a byte order mark before the first."""
        buffer, at_start = b"", True
        async for chunk in read():
            buffer += chunk
            if at_start and len(buffer) >= len(BYTE_ORDER_MARK):
                buffer, at_start = buffer.removeprefix(BYTE_ORDER_MARK), False
            while (blank := _BLANK_LINE.search(buffer)) is not None:
                event, buffer = buffer[: blank.end()], buffer[blank.end() :]
                if _DATA.search(event):
                    yield event
        if _DATA.search(buffer):
            yield buffer

    return events
