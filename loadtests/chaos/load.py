"""Clients at a steady rate: plain requests, streams, and some that leave; what became of each."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, Literal, TypeAlias

import aiohttp

Kind: TypeAlias = Literal["plain", "stream", "leaves"]
End: TypeAlias = Literal["answered", "refused", "error", "cut", "late", "malformed", "left", "unreachable"]
KINDS: dict[Kind, int] = {"plain": 9, "stream": 9, "leaves": 2}
TIME_LIMIT_S = 8.0
"""Sent with each request, as `x-request-timeout-s`."""
SERVE_LIMIT_S = 12.0
"""`http_options.request_timeout_s`: of Serve's proxy, for what never reached a router."""
DEADLINE_S = 2 * SERVE_LIMIT_S + 2
"""After which a request counts as late: a request whose router died has Serve's limit twice."""
LEAVE_S = 0.2
DOWN_S = 1.0
"""How long a proxy that refused a connection is left out, as a load balancer does."""


@dataclass(slots=True)
class Sent:
    """One request, and how it ended. `at_s` is since the load began; `ids` are those of its tries."""

    number: int
    kind: Kind
    at_s: float
    seconds: float = 0.0
    end: End = "late"
    status: int | None = None
    detail: str = ""
    record: dict[str, Any] | None = None
    ids: list[str] = field(default_factory=list)


class Balancer:
    """Passes over proxies that refused a connection a moment ago."""

    def __init__(self, urls: Callable[[], list[str]]) -> None:
        self._urls = urls
        self._turn = count()
        self._down: dict[str, float] = {}

    def choose(self, tried: set[str]) -> str | None:
        """Return the next proxy that was not tried, or None."""
        untried = [url for url in self._urls() if url not in tried]
        up = [url for url in untried if time.monotonic() - self._down.get(url, -DOWN_S) >= DOWN_S] or untried
        return up[next(self._turn) % len(up)] if up else None

    def failed(self, url: str) -> None:
        """Leave a proxy out for a moment."""
        self._down[url] = time.monotonic()


class Load:
    """Sends requests at random times (Poisson), whether or not earlier ones have ended, until it is stopped."""

    def __init__(self, urls: Callable[[], list[str]], rate: float, seed: int) -> None:
        self.sent: list[Sent] = []
        self.stopped = asyncio.Event()
        self._balancer = Balancer(urls)
        self._rate = rate
        self._chance = Random(seed)
        self._begun = time.monotonic()

    def now_s(self) -> float:
        """Return the seconds since the load began."""
        return time.monotonic() - self._begun

    async def run(self) -> None:
        """Send until stopped, and wait for all that was sent."""
        self._begun = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=DEADLINE_S + 10)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
            asyncio.TaskGroup() as group,
        ):
            for number in count():
                await asyncio.sleep(self._chance.expovariate(self._rate))
                if self.stopped.is_set():
                    break
                kind = self._chance.choices(list(KINDS), list(KINDS.values()))[0]
                sent = Sent(number, kind, self.now_s())
                self.sent.append(sent)
                group.create_task(self._send(session, sent))

    async def _send(self, session: aiohttp.ClientSession, sent: Sent) -> None:
        started, tried = time.monotonic(), set[str]()
        while (url := self._balancer.choose(tried)) is not None:
            tried.add(url)
            sent.ids.append(f"chaos-{sent.number}-{len(tried)}")
            try:
                if sent.kind == "leaves":
                    await self._leave(session, url, sent)
                else:
                    await self._ask(session, url, sent)
                break
            except aiohttp.ClientConnectorError:  # nothing was sent, so another proxy may be asked
                self._balancer.failed(url)
                sent.end = "unreachable"
            except TimeoutError:
                sent.end = "late"
                break
            except aiohttp.ClientError as error:
                sent.end, sent.detail = "cut", f"{type(error).__name__}: {error}"
                break
        sent.seconds = time.monotonic() - started
        if sent.seconds > DEADLINE_S:
            sent.end = "late"

    async def _leave(self, session: aiohttp.ClientSession, url: str, sent: Sent) -> None:
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._ask(session, url, sent)
        except TimeoutError:
            sent.end = "left"

    async def _ask(self, session: aiohttp.ClientSession, url: str, sent: Sent) -> None:
        stream = sent.kind == "stream"
        body = {
            "model": "default",
            "stream": stream,
            "messages": [{"role": "user", "content": f"What is {sent.number}?"}],
        }
        headers = {"x-request-id": sent.ids[-1], "x-request-timeout-s": str(TIME_LIMIT_S)}
        async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
            content = await response.read()
            sent.status = response.status
            read = read_stream if response.content_type == "text/event-stream" else read_plain
            sent.end, sent.record, sent.detail = read(response.status, response.headers.get("retry-after"), content)


Read: TypeAlias = tuple[End, dict[str, Any] | None, str]


def read_plain(status: int, retry_after: str | None, content: bytes) -> Read:
    """Return how a whole response ends: an answer with its record, or an error in the API's shape, or neither."""
    try:
        body = json.loads(content)
        if status == 200:
            return "answered", body["cascade"], body["choices"][0]["finish_reason"]
        message, kind = body["error"]["message"], body["error"]["type"]
    except (ValueError, KeyError, TypeError, IndexError):
        return "malformed", None, f"{status}: {content[:200]!r}"
    if not (message and kind):
        return "malformed", None, f"{status}: {content[:200]!r}"
    if status in (429, 503):
        if retry_after is None:
            return "malformed", None, f"{status} without Retry-After: {message}"
        return "refused", body.get("cascade"), f"{status} {message}"
    return "error", body.get("cascade"), f"{status} {message}"


def read_stream(status: int, retry_after: str | None, content: bytes) -> Read:
    """Return how a stream ends: `[DONE]` after a record, an `error` event, or in the middle."""
    record = None
    for event in content.decode(errors="replace").split("\n\n"):
        data = "\n".join(line.removeprefix("data: ") for line in event.splitlines() if line.startswith("data: "))
        if data == "[DONE]":
            return ("answered", record, "") if record else ("malformed", None, "[DONE] without a record")
        if not data:
            continue
        try:
            body = json.loads(data)
        except ValueError:
            return "malformed", None, f"an event that is no JSON: {data[:200]!r}"
        record = body.get("cascade", record)
        if "error" in body:
            return "error", record, f"in the stream: {body['error']['message']}"
    return "cut", record, "a stream without an end"
