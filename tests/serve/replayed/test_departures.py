"""Clients that leave, on real Ray Serve: no fault of any model, so no metric may say so."""

import json
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from tests.serve.conftest import Served, until
from tests.serve.replayed.test_observed import scraped

pytestmark = pytest.mark.serve

DEPARTURES = 20
CALLS, REQUESTS = "ray_cascade_model_calls_total", "ray_cascade_requests_total"


def sent(served: Served, text: str, **options: Any) -> socket.socket:
    """Send a request and return its connection. Closing it is all that is seen of a client's death."""
    body = json.dumps({"messages": [{"role": "user", "content": text}]} | options).encode()
    url = urlsplit(served.url)
    assert url.hostname
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection((url.hostname, url.port or 80))
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


async def test_clients_that_leave_are_counted_as_cancelled(replayed: Served) -> None:
    for number in range(DEPARTURES):
        with sent(replayed, "slow start", model="left", stream=number % 2 == 0):
            await until(lambda: replayed.active("first", "second"), [1, 1])
        await until(lambda: replayed.active("first", "second"), [0, 0])

    async def reported() -> bool:
        counts = await calls()
        return sum(counts.values()) == 2 * DEPARTURES

    # Every replica reports by its own clock.
    with suppress(TimeoutError):
        await until(reported, True)
    assert await calls() == {("first", "cancelled"): DEPARTURES, ("second", "cancelled"): DEPARTURES}
    assert await requests() == {"cancelled": DEPARTURES}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_target_that_was_asked_ahead_is_stopped_on_acceptance(replayed: Served, stream: bool) -> None:
    question = [{"role": "user", "content": "Wait a second, long target."}]
    async with openai.AsyncOpenAI(base_url=f"{replayed.url}/v1", api_key="none", max_retries=0) as client:
        if stream:
            chunks = await client.chat.completions.create(model="ahead", messages=question, stream=True)
            *_, last = [chunk async for chunk in chunks]
        else:
            last = await client.chat.completions.create(model="ahead", messages=question)
    record = last.model_extra["cascade"]
    assert (record["answered_by"], record["deferred"], record["models"]["target"]["status"]) == (
        "first",
        False,
        "cancelled",
    )
    assert record["cost"]["wasted"]["flops"] > 0
    if stream:  # a streamed target's tokens are counted until it is stopped
        assert 0 <= record["models"]["target"]["completion_tokens"] < 2000
    await until(lambda: replayed.active("first", "second", "target"), [0, 0, 0])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_what_was_asked_ahead(replayed: Served, stream: bool) -> None:
    with sent(replayed, "slow start, long target", model="ahead", stream=stream):
        await until(lambda: replayed.active("first", "second", "target"), [1, 1, 1])
    await until(lambda: replayed.active("first", "second", "target"), [0, 0, 0])


async def calls() -> dict[tuple[str, str], float]:
    """Return the calls of models by model and status."""
    return {(label["model"], label["status"]): count for label, count in await counted(CALLS)}


async def requests() -> dict[str, float]:
    """Return the requests by how they ended."""
    return {label["outcome"]: count for label, count in await counted(REQUESTS)}


async def counted(metric: str) -> list[tuple[dict[str, str], float]]:
    """Return the metric's counts of the cascade `left`, with their labels."""
    labels = [(dict(key[1]), count) for key, count in (await scraped()).items() if key[0] == metric]
    return [(label, count) for label, count in labels if label["cascade"] == "left"]
