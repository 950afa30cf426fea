"""Generated headers at every route of a whole router with keys: no 5xx, nobody gets in, no header is injected."""

import asyncio
import json
import logging
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import httpx
import pytest

from serve_app.config.key_file import create_key
from serve_app.deployments import wiring
from tests.api.serving import FakeService, listening
from tests.deployments.replies import routed
from tests.fuzz.in_process import Answered, call
from tests.fuzz.measures import MAX_GROWTH_BYTES, MAX_S, resident_bytes
from tests.fuzz.requests import Asked
from tests.fuzz.values import text
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("CASCADE_TEST_HEADERS", "10000"))
BODY = json.dumps({"model": "default", "messages": [{"role": "user", "content": "Hi"}]}).encode()
ENDLESS = {"/page/live"}
NEEDS_A_CLUSTER = {"/readyz", "/page/config"}
RAW_COUNT = COUNT // 10
NAMES = (
    *("authorization", "x-api-key", "cookie", "host", "origin", "referer", "sec-fetch-site", "accept", "expect"),
    *("content-type", "content-length", "content-encoding", "transfer-encoding", "accept-encoding", "connection"),
    *("cache-control", "pragma", "x-request-timeout-s", "x-session-id", "x-request-id", "traceparent", "tracestate"),
    *("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "x-http-method-override", "range"),
    *("if-match", "if-none-match", "upgrade", "access-control-request-method", "access-control-request-headers"),
    *("anthropic-version", "openai-organization", "te", "trailer", "x" * 300, "last-event-id", "user-agent"),
)
VALUES = (
    *("", " ", ",", ";", "=", ":", "*", "0", "-1", "1e308", "nan", "inf", "9" * 400, "0x10", "1_0", "true", "null"),
    *("Bearer", "Bearer ", "bearer sk-cascade-wrong", "Basic YTpi", "Bearer \xff", "sk-cascade-" + "a" * 43),
    *("application/json", "application/json; charset=utf-16", "application/json;;;=", "text/event-stream", "a/b/c"),
    *("gzip", "zstd", "br", "gzip, gzip", "identity", "chunked", "no-store", "max-age=0", "no-cache, private"),
    *("127.0.0.1", "localhost", "evil.example:80", "[::1]", "[", "https://app.example", "null", "cross-site"),
    *(
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
        "100-continue",
    ),
    *(
        "for=127.0.0.1;host=x",
        "a x-evil: 1",
        "a\nset-cookie: a=b",
        "\x00",
        "\x7f\xe9",
        "v" * 9000,
        "bytes=0-1",
        "websocket",
    ),
)


class Generated:
    """Makes the request of a number: any route and method, with a valid key or not, and a handful of headers."""

    def __init__(self, routes: list[tuple[str, str]], key: str) -> None:
        self._routes = routes
        self._key = key

    def __call__(self, number: int) -> tuple[str, Asked, bool]:
        random = Random(number)
        method, path = random.choice(self._routes)
        if random.random() < 0.05:
            method, path = (
                random.choice(("PUT", "OPTIONS", "HEAD", "TRACE", "X")),
                random.choice((path, "/nope", "/v1")),
            )
        if random.random() < 0.3:
            method, path = "POST", "/v1/chat/completions"
        headers = [(random.choice(NAMES), self._value(random)) for _ in range(random.randint(0, 6))]
        has_key = random.random() < 0.7
        if has_key:
            headers = [(name, value) for name, value in headers if name not in ("authorization", "x-api-key")]
            headers.append(("authorization", f"Bearer {self._key}"))
        if random.random() < 0.8:
            headers = [("content-type", "application/json"), *headers]
        return method, Asked("headers", path, headers, BODY if method == "POST" else b""), has_key

    def _value(self, random: Random) -> str:
        if random.random() < 0.8:
            return random.choice(VALUES)
        value = text(random).encode("utf-8", "replace").decode("latin-1")
        return value.replace("\r", "").replace("\n", "").replace("\x00", "")  # a server takes none of these


def complaint(answered: Answered, method: str, path: str, *, has_key: bool) -> str | None:
    """Return what is wrong with an answer, or None."""
    if answered.status >= 500 and (path not in NEEDS_A_CLUSTER or answered.status != 503):
        return "is an error of the server"
    is_open = path in ("/", "/healthz", "/readyz", "/docs", "/openapi.json") or path.startswith("/page/static")
    if answered.status < 300 and not has_key and not is_open and method != "OPTIONS":
        return "lets a client without a key in"
    if 400 <= answered.status < 500 and method != "HEAD" and path.startswith("/v1"):
        message = json.loads(answered.body)["error"]["message"]
        return None if message.strip() else "has no message"
    return None


async def test_every_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "_look", dict)
    keys = tmp_path / "keys.yaml"
    key = create_key(keys, "alice")
    router = routed(access={"keys_file": str(keys)}, page=True, cors={"origins": ["https://app.example"]})
    app = router.__serve_build_asgi_app__()
    routes = [
        (method, path.replace("{model_id}", "default").replace("{response_id}", "resp_1"))
        for route in app.routes
        for path in [{"/page/static": "/page/static/app.js"}.get(route.path, route.path)]
        for method in getattr(route, "methods", None) or ["GET"]
        if path not in ENDLESS
    ]
    generated = Generated(routes, key)
    statuses: Counter[int] = Counter()
    warm = 0
    for number in range(COUNT):
        method, request, has_key = generated(number)
        begun = time.process_time()
        answered = await call(app, request, method)
        seconds = time.process_time() - begun
        problem = complaint(answered, method, request.path, has_key=has_key)
        assert problem is None, f"{number}: {method} {request} {problem}: {answered}"
        assert seconds < MAX_S, f"{number}: {method} {request} took {seconds:.1f} s"
        statuses[answered.status] += 1
        if number == COUNT // 5:
            warm = resident_bytes()
    assert resident_bytes() - warm < MAX_GROWTH_BYTES
    assert statuses[200] > COUNT / 10
    assert statuses[401] > COUNT / 10
    assert {400, 404, 405} <= statuses.keys()


def raw_request(number: int) -> bytes:
    """Return a request as bytes, with lines of headers that no client would write."""
    random = Random(number)
    lines = [b"POST /v1/chat/completions HTTP/1.1", b"Host: x", b"Connection: close", b"Content-Type: application/json"]
    for _ in range(random.randint(1, 2)):
        name = random.choice((random.choice(NAMES).encode(), random.randbytes(3), b"", b" x", b"x-request-id"))
        injected = b"a" + random.choice((b"\r", b"\n", b"\x00", b"\r\n ", b"\n\t")) + b"x-evil: 1"
        value = random.choice((random.choice(VALUES).encode("latin-1"), random.randbytes(8), injected))
        line = name + random.choice((b": ", b":", b"", b" : ")) + value
        lines.insert(random.randrange(1, len(lines) + 1), line if random.random() < 0.5 else b"X-Request-Id: \xff\x80")
    end = random.choice((b"\r\n", b"\r\n", b"\r\n", b"\n"))
    length = random.choice((*[len(BODY)] * 4, 0, len(BODY) + 5, -1))
    return end.join([*lines, b"Content-Length: %d" % length, b"", BODY])


async def test_lines_that_are_no_headers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)  # the server warns of each
    service = FakeService()
    service.limits = replace(service.limits, body_timeout_s=0.05)
    answers: Counter[bytes] = Counter()
    async with listening(service) as url:
        target = urlsplit(url)
        for number in range(RAW_COUNT):
            reader, writer = await asyncio.open_connection(target.hostname, target.port)
            writer.write(raw_request(number))
            async with asyncio.timeout(PATIENCE_S):
                head = (await reader.read()).partition(b"\r\n\r\n")[0]
            writer.close()
            assert b"\nx-evil" not in head.lower(), number
            answers[head[9:10]] += 1
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            assert (await http.get("/healthz")).status_code == 200
    assert answers.keys() <= {b"2", b"4"}, answers
    assert min(answers[b"2"], answers[b"4"]) > RAW_COUNT / 20
