"""The gate: what a server that is to stop still answers."""

import asyncio
from contextlib import suppress

import httpx
from fastapi import FastAPI

from serve_app.deployments.protecting.gate import Gate, GateMiddleware
from tests.patience import PATIENCE_S


def gated(gate: Gate, release: asyncio.Event) -> httpx.AsyncClient:
    app = FastAPI()
    app.add_middleware(GateMiddleware, gate=gate)

    @app.post("/work")
    async def work() -> str:
        await release.wait()
        return "done"

    @app.get("/healthz")
    async def health() -> str:
        return "ok"

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gated")


async def test_a_request_in_progress_is_counted_and_finished() -> None:
    gate, release = Gate(), asyncio.Event()
    async with gated(gate, release) as http:
        request = asyncio.create_task(http.post("/work"))
        async with asyncio.timeout(PATIENCE_S):
            while not gate.in_progress:  # noqa: ASYNC110 - a counter raises no event
                await asyncio.sleep(0)
        gate.closed = True
        release.set()
        assert (await request).json() == "done"
        assert gate.in_progress == 0


async def test_a_closed_gate_refuses_work_and_answers_health() -> None:
    async with gated(Gate(closed=True), asyncio.Event()) as http:
        refused = await http.post("/work")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        assert refused.json()["error"]["type"] == "server_error"
        assert (await http.get("/healthz")).status_code == 200


async def test_a_broken_request_is_no_longer_in_progress() -> None:
    async def app(*_: object) -> None:
        raise ConnectionError

    gate = Gate()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(GateMiddleware(app, gate)), base_url="http://x") as http:
        with suppress(ConnectionError):
            await http.post("/work")
    assert gate.in_progress == 0
