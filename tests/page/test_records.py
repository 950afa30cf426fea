"""Records that are sent to be evaluated: by whom, how large, one at a time, and what becomes of who leaves."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serve_app.api.intake.caller import Caller, with_caller
from serve_app.page import evaluation as evaluation_module
from serve_app.page.evaluation import install_evaluation
from tests.patience import PATIENCE_S


class Fixed:
    """An evaluator that takes everything in, and says one thing."""

    def __init__(self) -> None:
        self.busy = False
        self.parts: list[bytes] = []
        self.closed = 0

    async def begin(self, records: AsyncIterator[bytes]) -> "Fixed":
        self.parts = [part async for part in records]
        return self

    async def events(self) -> AsyncIterator[bytes]:
        yield b"data: {}\n\n"

    async def close(self) -> None:
        self.closed += 1


def application(fixed: Fixed, *, operator: bool = True) -> Any:
    app = FastAPI()
    install_evaluation(app, fixed)

    async def called(scope: Any, receive: Any, send: Any) -> None:
        await app(with_caller(scope, Caller("ann", operator=operator)), receive, send)

    return called


async def post(fixed: Fixed, content: bytes = b"{}\n", *, operator: bool = True, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(application(fixed, operator=operator))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        sent = {"content-type": "application/jsonl"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return await http.post("/page/evaluate", content=content, headers=sent)


async def test_an_operators_records_are_taken_and_their_events_given() -> None:
    fixed = Fixed()
    response = await post(fixed)
    assert (response.status_code, response.text) == (200, "data: {}\n\n")
    assert (b"".join(fixed.parts), fixed.closed) == (b"{}\n", 1)


async def test_only_operators_may_have_records_evaluated() -> None:
    fixed = Fixed()
    response = await post(fixed, operator=False)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "not_an_operator")
    assert (fixed.parts, fixed.closed) == ([], 0)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"content_type": "text/plain"}, 415),  # which a form of another site can send
        ({"content_type": "multipart/form-data"}, 415),
    ],
)
async def test_another_site_cannot_send_records(headers: dict[str, str], status: int) -> None:
    fixed = Fixed()
    assert (await post(fixed, **headers)).status_code == status
    assert fixed.parts == []


async def test_one_file_at_a_time() -> None:
    fixed = Fixed()
    fixed.busy = True
    response = await post(fixed)
    assert (response.status_code, response.headers["retry-after"]) == (429, "10")


async def test_a_file_that_is_too_large_is_refused_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_module, "MOST_BYTES", 10)
    assert (await post(Fixed(), b"x" * 10)).status_code == 200
    refused = await post(Fixed(), b"x" * 11)
    assert (refused.status_code, refused.headers["connection"]) == (413, "close")


async def test_who_leaves_before_the_first_event_leaves_nothing_behind() -> None:
    fixed = Fixed()
    messages = [{"type": "http.request", "body": b"{}", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def gone(_: Any) -> None:
        raise OSError("the connection is closed")

    scope = {"type": "http", "method": "POST", "path": "/page/evaluate", "query_string": b""}
    headers = [(b"content-type", b"application/jsonl")]
    with pytest.raises(OSError, match="closed"):
        await application(fixed)(scope | {"headers": headers, "asgi": {"version": "3.0"}}, receive, gone)
    assert fixed.closed == 1


async def test_who_leaves_while_sending_is_no_error() -> None:
    messages: list[Any] = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/page/evaluate", "query_string": b""}
    headers = [(b"content-type", b"application/jsonl")]
    async with asyncio.timeout(PATIENCE_S):
        await application(Fixed())(scope | {"headers": headers, "asgi": {"version": "3.0"}}, receive, send)
    assert sent[0]["status"] == 499
