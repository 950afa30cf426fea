"""Under which names a server on this machine answers."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serve_app.deployments.protecting.host_check import HostCheckMiddleware


class At:
    """The app as it is reached at one address."""

    def __init__(self, app: FastAPI, address: str) -> None:
        self._app = app
        self._address = address

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope | {"server": (self._address, 8000)}, receive, send)


async def get(host: str, address: str = "127.0.0.1", allowed: tuple[str, ...] = ()) -> httpx.Response:
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    app.add_middleware(HostCheckMiddleware, allowed=allowed)
    transport = httpx.ASGITransport(At(app, address))
    async with httpx.AsyncClient(transport=transport, base_url="http://cascade") as client:
        return await client.get("/healthz", headers={"host": host})


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:8000", "127.0.0.2", "[::1]:8000", "[::1]"]
)
async def test_local_names_pass(host: str) -> None:
    assert (await get(host)).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "192.168.0.7", "[2001:db8::1]:80", ""]
)
async def test_other_names_do_not(host: str) -> None:
    response = await get(host)
    assert response.status_code == 403
    error = response.json()["error"]
    assert (error["code"], error["type"]) == ("host_not_allowed", "invalid_request_error")
    assert error["message"].endswith(" is not a name of this server; router.allowed_hosts can name it.")
    for address in ("::1", "127.0.0.2", "::ffff:127.0.0.1"):
        assert (await get(host, address)).status_code == 403


async def test_names_of_the_config_pass() -> None:
    assert (await get("api.example", allowed=("Api.Example",))).status_code == 200
    assert (await get("evil.example", allowed=("api.example",))).status_code == 403
    assert (await get("evil.example", allowed=("*",))).status_code == 200


async def test_who_opened_another_address_has_let_them_in() -> None:
    assert (await get("evil.example", "10.1.2.3")).status_code == 200


async def test_haproxy_may_pass_on_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind Ray Serve's HAProxy every request arrives at 127.0.0.1; keys are asked for instead."""
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    assert (await get("api.example")).status_code == 200
