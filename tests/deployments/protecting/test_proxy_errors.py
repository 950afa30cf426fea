"""Ray Serve's own errors in the API's shape, and the second try after a router's death."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from ray.serve._private.http_util import configure_http_middlewares
from ray.serve.config import HTTPOptions
from starlette.types import Receive, Scope, Send

from serve_app.config.ray_rules import PROXY_SETTINGS
from serve_app.deployments.protecting.proxy_errors import REPEATABLE_BYTES, ProxyErrorsMiddleware

Serve = Callable[[Scope, Receive, Send], Awaitable[None]]
CHAT = "/v1/chat/completions"


def client(serve: Serve) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(ProxyErrorsMiddleware(serve))
    return httpx.AsyncClient(transport=transport, base_url="http://proxy")


def says(status: int, text: str, kind: str = "text/plain; charset=utf-8", **headers: str) -> Serve:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        named = {"content-type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
        raw = [(name.encode(), value.encode()) for name, value in named.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": text.encode()})

    return serve


async def read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


class Dies:
    """A proxy whose router dies so many times before it answers with what it was asked."""

    def __init__(self, times: int) -> None:
        self.times, self.calls = times, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["path"] in (CHAT, "/v1/messages")
        scope |= {"root_path": "/app", "path": "/app" + scope["path"]}  # as Serve does it, to the scope itself
        body = await read(receive)
        self.calls += 1
        if self.calls > self.times:
            await says(200, body.decode(), "application/json")(scope, receive, send)


@pytest.mark.parametrize(
    ("status", "text", "expected_status", "code", "headers"),
    [
        (503, "Deployment is unavailable", 503, "unavailable", {"retry-after": "5"}),
        (503, "Request dropped due to backpressure (..).", 503, "overloaded", {"retry-after": "5"}),
        (408, "Request 1 timed out after 3s.", 504, "timeout", {"x-should-retry": "false"}),
        (404, "Path '/' not found.", 404, "not_found", {}),
    ],
)
async def test_a_plain_error_is_an_error_of_the_api(
    status: int, text: str, expected_status: int, code: str, headers: dict[str, str]
) -> None:
    async with client(says(status, text)) as http:
        response = await http.post(CHAT, json={})
    assert (response.status_code, response.json()["error"]["code"]) == (expected_status, code)
    assert headers.items() <= dict(response.headers).items()
    assert "dropped" not in response.text


async def test_the_time_that_serve_names_is_passed_on() -> None:
    async with client(says(429, "backpressure", retry_after="17")) as http:
        response = await http.post(CHAT, json={})
    assert (response.status_code, response.headers["retry-after"]) == (429, "17")


@pytest.mark.parametrize(
    ("serve", "path"),
    [
        (says(503, '{"error": {}}', "application/json"), CHAT),
        (says(400, "Disallowed CORS origin"), CHAT),
        (says(503, "draining"), "/-/healthz"),
    ],
)
async def test_other_answers_pass_as_they_are(serve: Serve, path: str) -> None:
    async with client(serve) as http:
        assert (await http.post(path)).text in ('{"error": {}}', "Disallowed CORS origin", "draining")


async def test_a_request_whose_router_died_is_asked_once_more() -> None:
    serve = Dies(times=1)
    async with client(serve) as http:
        response = await http.post(CHAT, json={"model": "default"})
    assert response.json() == {"model": "default"}
    assert serve.calls == 2


async def test_a_request_that_kills_every_router_is_given_up() -> None:
    serve = Dies(times=9)
    async with client(serve) as http:
        response = await http.post("/v1/messages", json={})
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert (response.json()["type"], response.json()["error"]["type"]) == ("error", "overloaded_error")
    assert serve.calls == 2


async def test_a_body_that_is_too_long_to_be_kept_is_not_sent_twice() -> None:
    serve = Dies(times=1)
    async with client(serve) as http:
        response = await http.post(CHAT, content=b"x" * (REPEATABLE_BYTES + 1))
    assert (response.status_code, serve.calls) == (503, 1)


async def test_a_stream_that_breaks_ends_with_an_error() -> None:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})

    async with client(serve) as http:
        first, last, _ = (await http.post(CHAT, json={})).text.split("\n\n")
    assert first == "data: {}"
    name, data = last.split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == "unavailable"


async def test_a_client_that_left_is_not_asked_for_again() -> None:
    messages = []

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        messages.append(await receive())

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    await ProxyErrorsMiddleware(serve)({"type": "http", "path": CHAT, "headers": []}, gone, send)
    assert messages == [{"type": "http.disconnect"}]


def test_serve_takes_it_by_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
    monkeypatch.setattr(f"ray.serve._private.http_util.{name}", PROXY_SETTINGS[name])
    [middleware] = configure_http_middlewares(HTTPOptions()).middlewares
    assert middleware.cls is ProxyErrorsMiddleware
