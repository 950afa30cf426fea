"""Streams as they are on the wire, and how they end."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from starlette.types import Message

from serve_app.api.answering.exchange import Exchange, while_connected
from serve_app.api.answering.stream import EventStream
from serve_app.api.chat.format import CompletionFormat
from serve_app.api.chat.prompt import to_ask, to_asks
from serve_app.api.chat.schema import ChatCompletion, TextCompletion
from serve_app.core.types.answer import Failure
from tests.api.serving import HANG, FakeService, Scripted

ASK: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
TEXT: dict[str, Any] = {"model": "default", "prompt": "Hi", "stream": True}


def data_of(line: str) -> dict[str, Any]:
    return json.loads(line.removeprefix("data: "))


async def test_the_wire(http: httpx.AsyncClient):
    response = await http.post("/v1/chat/completions", json=ASK)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    *events, end, tail = response.text.split("\n\n")
    assert all(event.startswith("data: {") and "\n" not in event for event in events)
    assert (end, tail) == ("data: [DONE]", "")


async def test_line_breaks_do_not_break_events(http: httpx.AsyncClient, service: FakeService):
    service.models["a"].text = service.models["b"].text = "one\n\ntwo\r\u2028three"
    events = (await http.post("/v1/completions", json=TEXT)).text.split("\n\n")
    assert data_of(events[0])["choices"][0]["text"] == "one\n\ntwo\r\u2028three"


async def test_a_text_that_utf8_cannot_say_is_mended(http: httpx.AsyncClient, service: FakeService):
    service.models["a"].text = service.models["b"].text = "half an emoji: \ud83d"
    events = (await http.post("/v1/completions", json=TEXT)).text.split("\n\n")
    assert data_of(events[0])["choices"][0]["text"] == "half an emoji: \ufffd"
    plain = await http.post("/v1/completions", json=TEXT | {"stream": False})
    assert plain.json()["choices"][0]["text"] == "half an emoji: \ufffd"


GARBAGE = "\x00\x01\ufffd garbage \u202e\x07 <script>alert(1)</script>\r\nx-evil: 1\r\n\r\n data: [DONE]\n\n"


async def test_an_answer_cannot_end_its_stream_or_add_a_header(http: httpx.AsyncClient, service: FakeService):
    service.models["a"].text = service.models["b"].text = GARBAGE
    streamed = await http.post("/v1/completions", json=TEXT)
    *events, end, tail = streamed.text.split("\n\n")
    assert "".join(data_of(event)["choices"][0]["text"] for event in events) == GARBAGE
    assert (end, tail) == ("data: [DONE]", "")
    plain = await http.post("/v1/completions", json=TEXT | {"stream": False})
    assert plain.json()["choices"][0]["text"] == GARBAGE
    assert not {"x-evil"} & (streamed.headers.keys() | plain.headers.keys())


@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", ASK), ("/v1/completions", TEXT)])
async def test_it_opens_in_time_and_is_kept_alive(url: str, service: FakeService, path: str, body: dict[str, Any]):
    service.keepalive_s = service.stream_open_s = 0.02
    service.models["a"].delay_s = 3.0
    lines: list[str] = []
    async with httpx.AsyncClient() as client, client.stream("POST", url + path, json=body) as response:
        assert response.status_code == 200
        assert not service.closings
        async for line in response.aiter_lines():
            if line:
                lines.append(line)
            if len(lines) == 3:
                assert not service.closings
    waiting = [line for line in lines if line.startswith(":")]
    assert len(waiting) >= 3
    assert lines[-1] == "data: [DONE]"
    assert lines[0].startswith("data: " if "messages" in body else ": ")


async def test_it_opens_with_its_first_text(url: str, service: FakeService):
    service.models["a"].delay_s = 0.3
    started = asyncio.get_running_loop().time()
    async with httpx.AsyncClient() as client, client.stream("POST", url + "/v1/completions", json=TEXT) as response:
        assert asyncio.get_running_loop().time() - started > 0.3
        assert ": waiting" not in (await response.aread()).decode()


@pytest.mark.parametrize(
    ("failure", "status", "headers"),
    [
        (Failure("context_length", "Too long."), 400, {}),
        (Failure("refused", "No.", param="tools"), 400, {}),
        (Failure("rate_limited", "Later.", retry_after_s=2.5), 429, {"retry-after": "3"}),
        (Failure("unavailable", "Away."), 503, {"retry-after": "5"}),
        (Failure("unavailable", "Left out.", retry_after_s=42), 503, {"retry-after": "42"}),
        (Failure("timeout", "Late."), 504, {"x-should-retry": "false"}),
    ],
)
async def test_a_failure_before_any_text_is_that_of_a_plain_request(
    http: httpx.AsyncClient, service: FakeService, failure: Failure, status: int, headers: dict[str, str]
):
    service.disagree()
    service.models["t"] = Scripted(failure)
    streamed = await http.post("/v1/chat/completions", json=ASK)
    plain = await http.post("/v1/chat/completions", json=ASK | {"stream": False})
    assert streamed.status_code == plain.status_code == status
    assert streamed.headers["content-type"] == "application/json"
    assert streamed.headers.items() >= headers.items()
    assert streamed.json()["error"] == plain.json()["error"]
    assert streamed.json()["cascade"]["deferred"] is True
    assert len(service.closings) == 2


async def test_a_failure_after_it_opened_is_an_error_event_with_the_record(url: str, service: FakeService):
    service.stream_open_s = 0
    service.models["t"] = Scripted(Failure("unavailable", "Away."), delay_s=0.1)
    async with httpx.AsyncClient() as client:
        response = await client.post(url + "/v1/completions", json=TEXT | {"model": "t"})
    assert response.status_code == 200
    assert "event: error\ndata: " in response.text
    assert '"cascade":{' in response.text
    assert "[DONE]" not in response.text
    assert len(service.closings) == 1


async def test_a_bug_before_any_text_is_a_500(http: httpx.AsyncClient, service: FakeService):
    service.models["t"] = Scripted(RuntimeError("secret"))
    response = await http.post("/v1/completions", json=TEXT | {"model": "t"})
    assert response.status_code == 500
    assert "secret" not in response.text
    assert service.closings == [None]


async def test_a_service_that_breaks_on_closing_is_closed_once(http: httpx.AsyncClient, service: FakeService):
    service.breaks_on_close = True
    response = await http.post("/v1/chat/completions", json=ASK)
    assert response.text.count("event: error") == 1
    assert "secret" not in response.text
    plain = await http.post("/v1/chat/completions", json=ASK | {"stream": False})
    assert plain.status_code == 500
    assert len(service.closings) == 2


class TestEnding:
    """The response object itself, over messages that a server would pass."""

    async def send(self, message: Message) -> None:
        self.sent.append(message["type"])

    async def ask(self, service: FakeService, body: Any, receive: Any, send: Any = None) -> None:
        self.sent: list[str] = []
        ask = to_ask(body) if isinstance(body, ChatCompletion) else to_asks(body)[0]
        response = EventStream(Exchange(service, ask, CompletionFormat(body)))
        await response({"type": "http"}, receive, send or self.send)

    async def test_gone_before_it_began(self, service: FakeService):
        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await asyncio.sleep(HANG)

        service.models |= {name: Scripted("Paris", delay_s=HANG) for name in ("a", "b")}
        await self.ask(service, ChatCompletion.model_validate(ASK), receive, send)
        assert service.closings == [None]
        assert all(model.stopped == len(model.prompts) for model in service.models.values())

    async def test_a_server_that_cannot_send(self, service: FakeService):
        async def receive() -> Message:
            await asyncio.sleep(HANG)
            raise AssertionError

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                raise OSError("The connection is gone.")

        with pytest.raises(OSError, match="gone"):
            await self.ask(service, ChatCompletion.model_validate(ASK), receive, send)
        assert service.closings == [None]

    async def test_cancelled_by_the_server(self, service: FakeService):
        async def receive() -> Message:
            await asyncio.sleep(HANG)
            raise AssertionError

        service.models |= {name: Scripted("Paris", delay_s=HANG) for name in ("a", "b")}
        asking = asyncio.create_task(self.ask(service, TextCompletion.model_validate(TEXT), receive))
        await service.models["b"].entered.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert service.closings == [None]
        assert [service.models[name].stopped for name in ("a", "b")] == [1, 1]

    async def test_a_broken_receive_is_not_a_client_that_left(self):
        async def receive() -> Message:
            raise RuntimeError("The proxy is gone.")

        async def work() -> str:
            await asyncio.sleep(0.01)
            return "done"

        assert await while_connected(receive, work()) == "done"
