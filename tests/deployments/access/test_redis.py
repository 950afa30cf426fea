"""Limits of keys in a real Redis: several routers count together, and what clients get while it is away."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import pytest

from loadtests.ports import free_port
from loadtests.redis_server import installed, redis_server
from serve_app.config import AccessConfig
from serve_app.deployments.access.key_limits import counts_of
from serve_app.errors import ConfigError
from tests.api.serving import FakeService, Scripted
from tests.patience import PATIENCE_S

from .doors import ASK, CHAT, Door, behind, client

pytest.importorskip("redis", reason="needs the extra redis")
pytestmark = pytest.mark.skipif(not installed(), reason="needs redis-server: apt install redis-server")

PASSWORD = "not-in-any-log"
NOW = 1_764_504_000.0
"""All requests are in one minute, of which some is left."""


@pytest.fixture(autouse=True)
async def closed_connections(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Close the connections of each router, whose loop ends with the test."""
    stores: list[Any] = []

    def remembered(config: AccessConfig) -> Any:
        stores.append(counts_of(config))
        return stores[-1]

    monkeypatch.setattr("serve_app.deployments.access.access.counts_of", remembered)
    yield
    for store in stores:
        await store.bridge.storage.aclose()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(port: int) -> Iterator[Popen[bytes]]:
    with redis_server(port) as server:
        yield server


@pytest.fixture
def door(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    with monkeypatch.context() as patched:
        patched.setattr("time.time", lambda: NOW)
        yield Door(tmp_path, limits_url=f"redis://127.0.0.1:{port}")


@asynccontextmanager
async def two_routers(door: Door) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Yield clients of two routers that have the same keys and the same Redis."""
    async with AsyncExitStack() as stack:
        apps = (door.app(), behind(FakeService(), door.config))
        yield [await stack.enter_async_context(client(app)) for app in apps]


async def ask(http: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    async with asyncio.timeout(PATIENCE_S):
        return await http.post(CHAT, json=ASK, headers=headers)


async def until_admitted(http: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    """Ask until there is another answer than a 503."""
    async with asyncio.timeout(PATIENCE_S):
        while (response := await ask(http, headers)).status_code == 503:
            pass
    return response


def left(response: httpx.Response, unit: str = "requests") -> str | None:
    return response.headers.get(f"x-ratelimit-remaining-{unit}")


@pytest.mark.usefixtures("server")
class TestTwoRouters:
    async def test_a_key_has_its_requests_once(self, door: Door) -> None:
        headers = door.key("alice", requests_per_minute=6)
        async with two_routers(door) as routers:
            answers = [await ask(http, headers) for http in routers * 4]
        assert [(answer.status_code, left(answer)) for answer in answers] == [
            *((200, str(remaining)) for remaining in (5, 4, 3, 2, 1, 0)),
            (429, "0"),
            (429, "0"),
        ]

    async def test_also_if_all_come_at_once(self, door: Door) -> None:
        headers = door.key("alice", requests_per_minute=6)
        async with two_routers(door) as routers:
            answers = await asyncio.gather(*(ask(http, headers) for http in routers * 10))
        assert Counter(answer.status_code for answer in answers) == {200: 6, 429: 14}

    @pytest.mark.parametrize(
        ("limit", "error_type"), [({"tokens_per_minute": 20}, "tokens"), ({"usd_per_day": 20e-6}, "insufficient_quota")]
    )
    async def test_and_its_tokens_and_dollars(self, door: Door, limit: dict[str, Any], error_type: str) -> None:
        headers = door.key("alice", **limit)
        door.service.usd = 1.0  # a token costs a microdollar, and a request has 22
        async with two_routers(door) as routers:
            first, second = [await ask(http, headers) for http in routers]
        assert (first.status_code, second.status_code) == (200, 429)
        assert second.json()["error"]["type"] == error_type

    async def test_one_that_begins_anew_counts_on(self, door: Door) -> None:
        headers = door.key("alice", requests_per_minute=9)
        for remaining in ("8", "7"):
            async with door.client() as http:
                assert left(await ask(http, headers)) == remaining


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the router has logged, without the lines of clients."""
    return [record.getMessage() for record in caplog.records if record.name == "ray.serve"]


async def test_while_it_is_away_limited_keys_are_refused_and_none_after_it_came_back(
    door: Door, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    limited, free = door.key("alice", requests_per_minute=5), door.key("bob")
    async with door.client() as http:
        with redis_server(port):
            assert left(await ask(http, limited)) == "4"
        refused = await ask(http, limited)
        assert (refused.status_code, refused.headers["retry-after"], left(refused)) == (503, "5", None)
        assert refused.json()["error"]["message"] == "The limits of API keys cannot be counted at the moment."
        assert len(logged(caplog)) == 1  # asked once
        assert "ConnectionError" in caplog.text
        assert (await ask(http, free)).status_code == 200
        with redis_server(port):
            assert left(await until_admitted(http, limited)) == "4"  # what it had in memory is gone
    assert ("cascade_key_requests_total", 1, ("alice", "uncounted")) in door.metrics.measures


async def test_one_that_hangs_is_away(door: Door, server: Popen[bytes], caplog: pytest.LogCaptureFixture) -> None:
    headers = door.key("alice", requests_per_minute=100)
    async with door.client() as http:
        assert (await ask(http, headers)).status_code == 200
        server.send_signal(signal.SIGSTOP)
        answers = await asyncio.gather(*(ask(http, headers) for _ in range(5)))
        assert [answer.status_code for answer in answers] == [503] * 5
        assert len(logged(caplog)) == 5  # each has waited once
        server.send_signal(signal.SIGCONT)
        assert (await until_admitted(http, headers)).status_code == 200


async def test_an_answer_that_is_there_is_given_also_if_it_cannot_be_counted(
    door: Door, server: Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    class Loses(Scripted):
        async def generate(self, prompt: Any) -> Any:
            server.kill()
            server.wait()
            return await super().generate(prompt)

    headers = door.key("alice", requests_per_minute=5, tokens_per_minute=100)
    door.service.models["t"] = Loses("It is Paris.")
    async with door.client() as http:
        async with asyncio.timeout(PATIENCE_S):
            answer = await http.post(CHAT, json=ASK | {"model": "t"}, headers=headers)
    assert (answer.status_code, left(answer)) == (200, None)
    [message] = logged(caplog)
    assert message.endswith("what the key 'alice' has used up is not counted.")


@pytest.mark.parametrize(("password", "status"), [(PASSWORD, 200), (f"{PASSWORD}-wrong", 503)])
async def test_its_password(
    tmp_path: Path,
    port: int,
    password: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", password)
    door = Door(tmp_path, limits_url=f"redis://127.0.0.1:{port}", limits_password_env="REDIS_PASSWORD")
    headers = door.key("alice", requests_per_minute=5)
    with redis_server(port, "--requirepass", PASSWORD):
        async with door.client() as http:
            answer = await ask(http, headers)
    assert answer.status_code == status
    assert ("AuthenticationError" in caplog.text) is (status == 503)
    assert PASSWORD not in caplog.text + answer.text


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("scheme", "database", "status"), [("redis", "/3", 200), ("redis", "/99", 503), ("rediss", "", 503)]
)
async def test_a_database_or_tls_that_it_does_not_have(
    tmp_path: Path, port: int, scheme: str, database: str, status: int
) -> None:
    door = Door(tmp_path, limits_url=f"{scheme}://127.0.0.1:{port}{database}")
    headers = door.key("alice", requests_per_minute=5)
    async with door.client() as http:
        assert (await ask(http, headers)).status_code == status


@pytest.mark.parametrize("value", [None, ""])
def test_a_password_that_is_missing_is_named(
    tmp_path: Path, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_PASSWORD", raising=False)
    if value is not None:
        monkeypatch.setenv("REDIS_PASSWORD", value)
    config = AccessConfig(
        keys_file=tmp_path / "keys.yaml", limits_url="redis://redis:6379", limits_password_env="REDIS_PASSWORD"
    )
    with pytest.raises(ConfigError, match=r"limits_password_env: the environment variable 'REDIS_PASSWORD' is not set"):
        counts_of(config)
