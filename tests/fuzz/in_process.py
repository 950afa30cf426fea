"""An application called without a server or a client, which costs a tenth of one."""

import asyncio
from dataclasses import dataclass
from typing import Any

from tests.fuzz.requests import Asked


@dataclass(frozen=True, slots=True)
class Answered:
    """One response; header names are in small letters."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


async def call(app: Any, request: Asked, method: str = "POST") -> Answered:
    """Return the application's whole response. The client never leaves before."""
    start: dict[str, Any] = {}
    parts: list[bytes] = []
    disconnected = asyncio.Event()
    messages = [{"type": "http.request", "body": request.body, "more_body": False}]
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await disconnected.wait()
        return {"type": "http.disconnect"}

    async def reply(message: Any) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    scope = {"type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": request.path}
    scope |= {"raw_path": request.path.encode(), "query_string": b"", "headers": headers, "root_path": ""}
    await app(scope | {"asgi": {"version": "3.0"}, "server": ("x", 80), "client": ("y", 1)}, receive, reply)
    decoded = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start["headers"]]
    return Answered(start["status"], decoded, b"".join(parts))
