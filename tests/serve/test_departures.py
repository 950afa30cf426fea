"""Clients that leave, on real Ray Serve: no fault of any model, so no metric may say so."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.serve.conftest import REPLAY, Served, serving, until
from tests.serve.test_observed import scraped

pytestmark = pytest.mark.serve

DEPARTURES = 20
CALLS, REQUESTS = "ray_cascade_model_calls_total", "ray_cascade_requests_total"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_metrics_report_interval_ms", "2000")
        with serving(REPLAY, tmp_path_factory.mktemp("left")) as served:
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


async def calls() -> dict[tuple[str, str], float]:
    """Calls of models by model and status."""
    labels = [(dict(key[1]), count) for key, count in (await scraped()).items() if key[0] == CALLS]
    return {(label["model"], label["status"]): count for label, count in labels}


async def requests() -> dict[str, float]:
    """Requests by how they ended."""
    return {dict(key[1])["outcome"]: count for key, count in (await scraped()).items() if key[0] == REQUESTS}
