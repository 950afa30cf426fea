"""Clients that leave, on real Ray Serve: no fault of any model, so no metric may say so."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from tests.serve.conftest import REPLAY, Served, serving, until
from tests.serve.test_observed import scraped

pytestmark = pytest.mark.serve

DEPARTURES = 20
CALLS, REQUESTS = "ray_cascade_model_calls_total", "ray_cascade_requests_total"


def asking_ahead() -> dict[str, Any]:
    """The replayed cascade, and one more that asks its target together with its members."""
    values = deepcopy(REPLAY)
    args = values["applications"][0]["args"]
    for member in ("first", "second"):
        args["models"][member]["answers"].insert(0, {"contains": "a second", "text": "Agreed.", "first_token_s": 1.0})
    args["cascades"]["ahead"] = args["cascades"]["default"] | {"speculate": "always"}
    return values


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_metrics_report_interval_ms", "2000")
        with serving(asking_ahead(), tmp_path_factory.mktemp("left")) as served:
            yield served


def sent(served: Served, text: str, **options: Any) -> socket.socket:
    """A connection on which a request has been sent. Closing it is all that a client's death looks like."""
    body = json.dumps({"model": "default", "messages": [{"role": "user", "content": text}]} | options).encode()
    url = urlsplit(served.url)
    assert url.hostname
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection((url.hostname, url.port or 80))
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


async def test_clients_that_leave_are_counted_as_cancelled(left: Served) -> None:
    for number in range(DEPARTURES):
        with sent(left, "slow start", stream=number % 2 == 0):
            await until(lambda: left.active("first", "second"), [1, 1])
        await until(lambda: left.active("first", "second"), [0, 0])

    async def reported() -> bool:
        counts = await calls()
        return sum(counts.values()) == 2 * DEPARTURES

    # Every replica reports by its own clock.
    with suppress(TimeoutError):
        await until(reported, True)
    assert await calls() == {("first", "cancelled"): DEPARTURES, ("second", "cancelled"): DEPARTURES}
    assert await requests() == {"cancelled": DEPARTURES}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_target_that_was_asked_ahead_is_stopped_on_acceptance(left: Served, stream: bool) -> None:
    question = [{"role": "user", "content": "Wait a second, long target."}]
    async with openai.AsyncOpenAI(base_url=f"{left.url}/v1", api_key="none", max_retries=0) as client:
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
    await until(lambda: left.active("first", "second", "target"), [0, 0, 0])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_what_was_asked_ahead(left: Served, stream: bool) -> None:
    with sent(left, "slow start, long target", model="ahead", stream=stream):
        await until(lambda: left.active("first", "second", "target"), [1, 1, 1])
    await until(lambda: left.active("first", "second", "target"), [0, 0, 0])


async def calls() -> dict[tuple[str, str], float]:
    """Calls of models by model and status."""
    labels = [(dict(key[1]), count) for key, count in (await scraped()).items() if key[0] == CALLS]
    return {(label["model"], label["status"]): count for label, count in labels}


async def requests() -> dict[str, float]:
    """Requests by how they ended."""
    return {dict(key[1])["outcome"]: count for key, count in (await scraped()).items() if key[0] == REQUESTS}
