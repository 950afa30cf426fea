"""CORS: closed by default; an allowed page may use every route, and read every answer, also those that refuse."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from serve_app.api.intake.caller import FORWARDED
from serve_app.api.routes import build_api
from serve_app.config import CorsConfig
from serve_app.config.services import RouterConfig
from serve_app.deployments.cors import EXPOSED, LIMITS, open_to
from serve_app.deployments.protecting.gate import Gate, GateMiddleware
from tests.api.serving import FakeService, Scripted

APP, OTHER = "https://app.example", "https://evil.example"
CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": "Hi"}]}
ALLOWED = "access-control-allow-origin"


def application(service: FakeService, gate: Gate, **cors: Any) -> FastAPI:
    """Return the router's application, without Ray."""
    app = build_api(service)
    app.add_middleware(GateMiddleware, gate=gate)
    open_to(app, CorsConfig(**{"origins": [APP]} | cors))
    return app


@asynccontextmanager
async def page(
    service: FakeService | None = None, gate: Gate | None = None, origin: str = APP, **cors: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that sends requests as a page of this origin does."""
    app = application(service or FakeService(), gate or Gate(), **cors)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cascade", headers={"origin": origin}) as http:
        yield http


def test_it_is_closed_by_default() -> None:
    assert RouterConfig().cors is None


PATHS = sorted({route.path for route in build_api(FakeService()).routes if hasattr(route, "path")})


@pytest.mark.parametrize("path", [*PATHS, "/nope"])
async def test_a_preflight_passes_for_every_route(path: str) -> None:
    header_names = "authorization,content-type,x-stainless-os,anthropic-version,x-session-id"
    async with page() as http:
        for method in ("GET", "HEAD", "POST", "DELETE"):
            preflight_headers = {
                "access-control-request-method": method,
                "access-control-request-headers": header_names,
            }
            response = await http.options(path, headers=preflight_headers)
            assert (response.status_code, response.headers[ALLOWED]) == (200, APP)
            assert method in response.headers["access-control-allow-methods"].split(", ")
            assert response.headers["access-control-allow-headers"] == header_names
            assert response.headers["access-control-max-age"] == "600"
            assert "origin" in response.headers["vary"].lower()


async def test_a_foreign_page_is_refused() -> None:
    async with page(origin=OTHER) as http:
        preflight = await http.options(CHAT, headers={"access-control-request-method": "POST"})
        assert (preflight.status_code, ALLOWED in preflight.headers) == (400, False)
        answer = await http.post(CHAT, json=ASK)  # as `curl` may; a browser keeps the answer from the page
        assert (answer.status_code, ALLOWED in answer.headers) == (200, False)
        assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("origin", [f"{APP}:8443", "http://app.example", "https://x.app.example", "null", APP + "."])
async def test_an_origin_is_compared_as_a_whole(origin: str) -> None:
    async with page(origin=origin) as http:
        assert ALLOWED not in (await http.get("/healthz")).headers


async def test_every_page_with_a_star() -> None:
    async with page(origin=OTHER, origins=["*"], max_age_s=5) as http:
        preflight = await http.options(CHAT, headers={"access-control-request-method": "POST"})
        assert (preflight.headers[ALLOWED], preflight.headers["access-control-max-age"]) == ("*", "5")
        answer = await http.post(CHAT, json=ASK)
        assert answer.headers[ALLOWED] == "*"
        assert "access-control-allow-credentials" not in answer.headers


async def test_credentials_only_if_allowed() -> None:
    for credentials in (True, False):
        async with page(credentials=credentials) as http:
            answer = await http.get("/healthz")
            assert answer.headers.get("access-control-allow-credentials") == ("true" if credentials else None)


async def test_a_page_may_read_what_was_decided() -> None:
    async with page() as http:
        answer = await http.post(CHAT, json=ASK)
    assert answer.headers[ALLOWED] == APP
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    ours = {name for name in answer.headers if name.startswith("x-")}
    assert ours
    assert ours <= set(exposed)


async def test_a_stream_is_readable() -> None:
    async with page() as http:
        answer = await http.post(CHAT, json=ASK | {"stream": True})
    assert (answer.status_code, answer.headers[ALLOWED]) == (200, APP)
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_every_refusal_is_readable(caplog: pytest.LogCaptureFixture) -> None:
    service, gate = FakeService(), Gate()
    async with page(service, gate) as http:
        answers = {
            200: await http.head("/healthz"),
            400: await http.post(CHAT, json={}),
            404: await http.get("/nope"),
            405: await http.get(CHAT),
            415: await http.post(CHAT, json=ASK, headers={"content-encoding": "br"}),
        }
        service.models["a"] = Scripted(RuntimeError("secret"))
        answers[500] = await http.post(CHAT, json=ASK)
        gate.closed = True
        answers[503] = await http.post(CHAT, json=ASK)
    assert {status: answer.status_code for status, answer in answers.items()} == {status: status for status in answers}
    assert {answer.headers.get(ALLOWED) for answer in answers.values()} == {APP}
    assert "secret" in caplog.text
    assert "secret" not in answers[500].text


def test_every_header_that_we_set_is_exposed() -> None:
    root = Path(__file__).parents[2] / "serve_app"
    code = "".join(path.read_text() for folder in ("api", "deployments") for path in (root / folder).rglob("*.py"))
    named = set(re.findall(r'"(x-[a-z-]+|retry-after|accept-encoding|allow)"', code))
    sent = {"x-gzip", "x-session-id", "x-request-timeout-s", "x-api-key", *FORWARDED}  # by clients and proxies
    sent |= {"x-content-type-options"}  # for browsers, which heed it whether or not scripts may read it
    assert named - sent == set(EXPOSED) - set(LIMITS)


@pytest.mark.parametrize(
    "origin",
    [
        "app.example",
        "https://",
        "https://app.example/",
        "https://app.example/x",
        "https://App.example",
        "https://*.a",
        "",
    ],
)
def test_what_no_browser_sends_as_its_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValidationError, match=r'is not an origin; write "\*", or one such as https://app.example:8443'):
        CorsConfig(origins=[origin])


def test_origins_that_browsers_send() -> None:
    origins = ["*", "http://localhost:3000", "http://127.0.0.1:8000", "http://[::1]:80", "vscode-webview://abc", APP]
    assert CorsConfig(origins=origins).origins == origins


def test_credentials_are_not_for_every_page() -> None:
    with pytest.raises(ValidationError, match="would let every page act for its visitors"):
        CorsConfig(origins=["*"], credentials=True)
    with pytest.raises(ValidationError, match="at least 1 item"):
        CorsConfig(origins=[])
