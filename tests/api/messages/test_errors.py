"""Errors in Anthropic's form, for whatever reason, and the client's exceptions for them."""

import asyncio
import json
from typing import Any

import anthropic
import httpx
import pytest

from serve_app.api.routes import build_api
from serve_app.core.types.answer import Failure, FailureKind
from serve_app.deployments.protecting.gate import Gate, GateMiddleware
from serve_app.errors import ContextTooLongError
from tests.api.serving import Breaks, FakeService, Scripted

from .asking import ASK, COUNT, PATH

FAILURES: list[tuple[FailureKind, int, str, type[anthropic.APIStatusError]]] = [
    ("context_length", 400, "invalid_request_error", anthropic.BadRequestError),
    ("refused", 400, "invalid_request_error", anthropic.BadRequestError),
    ("rate_limited", 429, "rate_limit_error", anthropic.RateLimitError),
    ("error", 502, "api_error", anthropic.InternalServerError),
    ("invalid_output", 502, "api_error", anthropic.InternalServerError),
    ("unavailable", 503, "overloaded_error", anthropic.InternalServerError),
    ("cancelled", 503, "overloaded_error", anthropic.InternalServerError),
    ("timeout", 504, "timeout_error", anthropic.InternalServerError),
]


@pytest.mark.parametrize(("kind", "status", "name", "error"), FAILURES)
@pytest.mark.parametrize("stream", [False, True])
async def test_failures(claude, service: FakeService, kind: FailureKind, status: int, name: str, error: Any, stream):
    service.models["t"] = Scripted(Failure(kind, "It broke.", param="stop", retry_after_s=3))
    with pytest.raises(error) as caught:
        await claude.messages.create(**ASK | {"model": "t", "stream": stream}, extra_headers={"x-request-id": "r1"})
    assert (caught.value.status_code, caught.value.type, caught.value.request_id) == (status, name, "r1")
    assert caught.value.body["request_id"] == "r1"
    assert caught.value.body["cascade"]["models"]["t"]["status"] == kind
    assert "It broke." in caught.value.api_message


async def test_a_refusal_names_the_field_of_this_api(claude: anthropic.AsyncAnthropic, service: FakeService):
    service.models["t"] = Scripted(Failure("refused", "stop: at most 4.", param="stop"))
    with pytest.raises(anthropic.BadRequestError) as caught:
        await claude.messages.create(**ASK | {"model": "t"})
    assert caught.value.api_message == "The model 't' cannot honour the request: stop_sequences: at most 4."


async def test_a_prompt_too_long_is_said_in_the_words_that_clients_look_for(claude, service: FakeService):
    service.models["t"] = Scripted(Failure("context_length", str(ContextTooLongError(100, 50))))
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long: The prompt has 100 tokens"):
        await claude.messages.create(**ASK | {"model": "t"})


@pytest.mark.parametrize("broken", [Failure("unavailable", "Away."), RuntimeError("secret")])
async def test_a_stream_that_breaks_off(claude, service: FakeService, broken: Failure | Exception):
    service.models["t"] = Breaks(broken)
    pieces: list[str] = []

    async def read() -> None:
        async with claude.messages.stream(**ASK | {"model": "t"}) as stream:
            async for piece in stream.text_stream:
                pieces.append(piece)  # noqa: PERF401

    with pytest.raises(anthropic.APIStatusError) as caught:
        await read()
    assert pieces == ["The"]
    assert caught.value.type == ("api_error" if isinstance(broken, Exception) else "overloaded_error")
    assert ("cascade" in caught.value.body) == isinstance(broken, Failure)
    assert "secret" not in str(caught.value.body)


def check(response: httpx.Response, status: int, name: str, words: str) -> None:
    assert response.status_code == status
    body = response.json()
    assert (body["type"], body["error"]["type"]) == ("error", name)
    assert words in body["error"]["message"]
    assert set(body) == {"type", "error", "request_id"}
    assert body["request_id"] == response.headers.get("request-id")


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("path", [PATH, COUNT])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The request has no body."),
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"\xff{}", "not valid UTF-8"),
        (b'{"model": "a", "model": "b"}', "duplicate name"),
        (b"[" * 1000, "nested deeper"),
        (json.dumps(ASK | {"nonsense": 1}).encode(), "nonsense: this field is not supported."),
    ],
)
async def test_malformed_bodies(http: httpx.AsyncClient, path: str, body: bytes, words: str):
    response = await http.post(path, content=body, headers=JSON | {"x-request-id": "r2"})
    check(response, 400, "invalid_request_error", words)
    assert response.headers["request-id"] == "r2"


async def test_a_body_without_its_content_type(http: httpx.AsyncClient):
    check(await http.post(PATH, content=json.dumps(ASK)), 400, "invalid_request_error", "content type application/json")


async def test_a_body_too_large(http: httpx.AsyncClient, service: FakeService):
    service.limits = type(service.limits)(10, 1.0, 1, 1, 1)
    check(await http.post(PATH, json=ASK), 413, "request_too_large", "larger than 10 bytes")


async def test_a_body_that_does_not_arrive(url: str, service: FakeService):
    service.limits = type(service.limits)(1000, 0.05, 1, 1, 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
    writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "timeout_error"


async def test_unknown_paths_methods_and_models(http: httpx.AsyncClient):
    check(
        await http.post(f"{PATH}/batches", json={}), 404, "not_found_error", "There is no '/v1/messages/batches' here"
    )
    check(await http.get(PATH), 405, "invalid_request_error", "/v1/messages does not take GET; use POST.")
    check(await http.post(PATH, json=ASK | {"model": "x"}), 404, "not_found_error", "There is no model 'x'")
    claude = await http.get("/v1/models/x", headers={"anthropic-version": "2023-06-01"})
    check(claude, 404, "not_found_error", "There is no model 'x'")
    assert "param" in (await http.get("/v1/models/x")).json()["error"]  # OpenAI's
    assert "param" in (await http.post("/v1/messages2", json={})).json()["error"]


async def test_the_closed_gate(service: FakeService):
    app = GateMiddleware(build_api(service), Gate(closed=True))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://cascade") as http:
        response = await http.post(PATH, json=ASK)
    check(response, 503, "overloaded_error", "The server is stopping")
    assert response.headers["retry-after"] == "10"


async def test_a_bug(http: httpx.AsyncClient, service: FakeService):
    service.models["t"] = Scripted(RuntimeError("secret"))
    response = await http.post(PATH, json=ASK | {"model": "t"})
    check(response, 500, "api_error", "failed in a way it should not")
    assert "secret" not in response.text


async def test_a_stream_waits_with_pings(url: str, service: FakeService):
    service.keepalive_s = service.stream_open_s = 0.02
    service.models["t"] = Scripted("Paris", delay_s=0.5)
    async with httpx.AsyncClient() as http:
        response = await http.post(url + PATH, json=ASK | {"model": "t", "stream": True})
    events = response.text.split("\n\n")
    assert events[0].startswith("event: message_start\n")
    assert events.count('event: ping\ndata: {"type":"ping"}') > 3
    assert events[-2:] == ['event: message_stop\ndata: {"type":"message_stop"}', ""]
