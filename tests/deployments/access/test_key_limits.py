"""Limits of keys: what is refused, what clients are told, and when it passes again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import pytest
from limits.errors import StorageError

from serve_app.config import AccessConfig
from serve_app.config.key_file import read_keys
from serve_app.deployments.access.key_limits import MINUTE_S, KeyLimits, counts_of
from serve_app.errors import ConfigError, SignalError
from tests.api.serving import Scripted

from .doors import ASK, CHAT, Door

NOON = 1_764_504_000.0
"""2025-11-30, 12:00 UTC."""


class Clock:
    def __init__(self) -> None:
        self.now = NOON - crc32(b"alice") % MINUTE_S

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    with monkeypatch.context() as patched:
        patched.setattr("time.time", clock)
        yield clock


@pytest.fixture
def door(tmp_path: Path, clock: Clock) -> Door:
    return Door(tmp_path)


def shown(response: httpx.Response, unit: str) -> tuple[str | None, ...]:
    return tuple(response.headers.get(f"x-ratelimit-{figure}-{unit}") for figure in ("limit", "remaining", "reset"))


async def test_requests_in_a_minute(door: Door, clock: Clock) -> None:
    headers = door.key("alice", requests_per_minute=2)
    async with door.client() as http:
        first = await http.post(CHAT, json=ASK, headers=headers)
        clock.now += 20
        second = await http.post(CHAT, json=ASK, headers=headers)
        third = await http.post(CHAT, json=ASK, headers=headers)
        assert [shown(response, "requests") for response in (first, second, third)] == [
            ("2", "1", "60s"),
            ("2", "0", "40s"),
            ("2", "0", "40s"),
        ]
        assert shown(first, "tokens") == (None, None, None)
        assert (third.status_code, third.headers["retry-after"]) == (429, "40")
        assert third.json()["error"] == {
            "message": "Rate limit reached for the key 'alice': 2 requests in a minute. Try again in 40 s.",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
        assert len(door.service.runs) == 2
        clock.now += 40
        assert (await http.post(CHAT, json=ASK, headers=headers)).status_code == 200


async def test_anthropics_clients_are_told_in_their_words(door: Door) -> None:
    headers = door.key("alice", requests_per_minute=1)
    body = ASK | {"max_tokens": 5}
    async with door.client() as http:
        assert (await http.post("/v1/messages", json=body, headers=headers)).status_code == 200
        refused = await http.post("/v1/messages", json=body, headers=headers)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert refused.headers["retry-after"] == "60"


async def test_tokens_are_counted_once_they_are_known(door: Door, clock: Clock) -> None:
    headers = door.key("alice", tokens_per_minute=40)
    async with door.client() as http:
        # Two members, which read 10 tokens and write 1 each.
        first, second, third = [await http.post(CHAT, json=ASK, headers=headers) for _ in range(3)]
        assert [shown(response, "tokens") for response in (first, second, third)] == [
            ("40", "18", "60s"),
            ("40", "0", "60s"),
            ("40", "0", "60s"),
        ]
        assert [response.status_code for response in (first, second, third)] == [200, 200, 429]
        assert third.json()["error"]["type"] == "tokens"
        clock.now += 60
        assert (await http.post(CHAT, json=ASK, headers=headers)).status_code == 200


async def test_a_streams_tokens_count_too(door: Door) -> None:
    headers = door.key("alice", tokens_per_minute=20)
    async with door.client() as http:
        first = await http.post(CHAT, json=ASK | {"stream": True}, headers=headers)
        assert shown(first, "tokens") == ("20", "20", "0s")  # nothing was known when it began
        assert (await http.post(CHAT, json=ASK, headers=headers)).status_code == 429


async def test_failed_requests_and_embeddings_count_by_what_they_took(door: Door) -> None:
    headers = door.key("alice", tokens_per_minute=1000)
    embedding = {"model": "encoder", "input": ["one two three", "four"]}
    async with door.client() as http:
        assert shown(await http.post("/v1/embeddings", json=embedding, headers=headers), "tokens")[1] == "996"
        assert shown(await http.post(CHAT, json={}, headers=headers), "tokens")[1] == "996"
        prompts = {"model": "t", "prompt": ["a", "b"]}  # 10 read and 3 written, twice
        assert shown(await http.post("/v1/completions", json=prompts, headers=headers), "tokens")[1] == "970"


async def test_the_days_budget(door: Door, clock: Clock) -> None:
    headers = door.key("alice", usd_per_day=40e-6)
    door.service.usd = 1.0  # a token costs a microdollar
    clock.now = NOON
    async with door.client() as http:
        answers = [await http.post(CHAT, json=ASK, headers=headers) for _ in range(3)]
        assert [response.status_code for response in answers] == [200, 200, 429]
        error = answers[2].json()["error"]
        assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
        assert error["message"] == "The key 'alice' has used up its budget of $4e-05 for today (UTC)."
        assert (answers[2].headers["retry-after"], answers[2].headers["x-should-retry"]) == ("43200", "false")
        clock.now += 43199
        assert (await http.post(CHAT, json=ASK, headers=headers)).status_code == 429
        clock.now += 1
        assert (await http.post(CHAT, json=ASK, headers=headers)).status_code == 200


async def test_keys_have_limits_of_their_own(door: Door) -> None:
    alice, bob = door.key("alice", requests_per_minute=1), door.key("bob", requests_per_minute=1)
    async with door.client() as http:
        assert [(await http.post(CHAT, json=ASK, headers=key)).status_code for key in (alice, alice, bob)] == [
            200,
            429,
            200,
        ]
    passed = [labels for name, _, labels in door.metrics.measures if name == "cascade_key_requests_total"]
    assert passed == [("alice", "passed"), ("alice", "requests"), ("bob", "passed")]


async def test_what_costs_no_model_counts_for_no_limit(door: Door) -> None:
    headers = door.key("alice", requests_per_minute=1)
    async with door.client() as http:
        for _ in range(3):
            assert (await http.get("/v1/models", headers=headers)).status_code == 200
        assert (await http.post(CHAT, json=ASK, headers=headers)).status_code == 200
        assert (await http.get("/v1/models", headers=headers)).status_code == 200


async def test_a_request_that_is_refused_counts_unless_it_is_a_limit_that_refuses_it(door: Door, clock: Clock) -> None:
    headers = door.key("alice", models=["default"], requests_per_minute=3, tokens_per_minute=22)
    async with door.client() as http:
        misspelt = await http.post(CHAT, json=ASK | {"temprature": 1}, headers=headers)
        not_allowed = await http.post(CHAT, json=ASK | {"model": "t"}, headers=headers)
        assert (misspelt.status_code, not_allowed.status_code) == (400, 404)
        answered = await http.post(CHAT, json=ASK, headers=headers)
        assert [shown(response, "requests")[1] for response in (misspelt, not_allowed, answered)] == ["2", "1", "0"]
        without_tokens = await http.post(CHAT, json=ASK, headers=headers)
        assert (without_tokens.status_code, without_tokens.json()["error"]["type"]) == (429, "tokens")


async def test_a_key_without_limits_has_no_headers_of_limits(door: Door) -> None:
    headers = door.key("alice")
    async with door.client() as http:
        response = await http.post(CHAT, json=ASK, headers=headers)
    assert [name for name in response.headers if name.startswith("x-ratelimit")] == []


async def test_a_server_that_fails_still_counts(door: Door) -> None:
    headers = door.key("alice", requests_per_minute=1)
    door.service.models["a"] = Scripted(RuntimeError("secret"))
    async with door.client() as http:
        assert (await http.post(CHAT, json=ASK, headers=headers)).status_code == 500
        assert (await http.post(CHAT, json=ASK, headers=headers)).status_code == 429


async def test_limits_that_nobody_can_count_are_kept_by_refusing(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    limited, free = door.key("alice", requests_per_minute=5), door.key("bob")

    async def away(*_: Any, **__: Any) -> int:
        raise StorageError(ConnectionError("redis is away"))

    async with door.client() as http:
        monkeypatch.setattr("limits.aio.storage.MemoryStorage.incr", away)
        refused = await http.post(CHAT, json=ASK, headers=limited)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert refused.json()["error"]["message"] == "The limits of API keys cannot be counted at the moment."
        assert (await http.post(CHAT, json=ASK, headers=free)).status_code == 200
    assert ("cascade_key_requests_total", 1, ("alice", "uncounted")) in door.metrics.measures


def test_a_store_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    config = AccessConfig(keys_file=tmp_path / "keys.yaml", limits_url="redis://redis:6379")
    with pytest.raises(ConfigError, match=r"limits_url needs redis: pip install 'semantic-cascade\[redis\]'"):
        counts_of(config)


async def test_a_limit_that_is_changed_goes_on_counting(door: Door) -> None:
    door.key("alice")
    limits, key = KeyLimits(counts_of(door.config)), read_keys(door.file).api_keys["alice"]
    for most, admitted in ((3, [True, True, True]), (4, [True, False])):
        changed = key.model_copy(update={"requests_per_minute": most})
        assert [await limits.admit("alice", changed) is None for _ in admitted] == admitted


async def test_embeddings_that_nobody_waits_for_count_too(door: Door) -> None:
    headers = door.key("alice", tokens_per_minute=1000)
    door.service.embedding_fails = SignalError("The scorer did not answer within 30 s.")
    async with door.client() as http:
        body = {"model": "encoder", "input": ["four"]}
        assert shown(await http.post("/v1/embeddings", json=body, headers=headers), "tokens")[1] == "998"  # estimated


@pytest.mark.parametrize("models", [None, ["default", "encoder"], ["default"]])
async def test_embeddings_by_what_is_no_encoder_cost_nothing(door: Door, models: list[str] | None) -> None:
    headers = door.key("alice", tokens_per_minute=1000, models=models)
    async with door.client() as http:
        refused = await http.post("/v1/embeddings", json={"model": "default", "input": ["four"]}, headers=headers)
    assert refused.status_code == 404
    assert ("encoder" in refused.json()["error"]["message"].split("'default'")[1]) is (models != ["default"])
    assert shown(refused, "tokens")[1] == "1000"


async def test_the_minutes_of_keys_end_at_different_times(door: Door) -> None:
    keys = [door.key(name, requests_per_minute=1) for name in ("alice", "bob", "carol")]
    async with door.client() as http:
        ends = {shown(await http.post(CHAT, json=ASK, headers=headers), "requests")[2] for headers in keys}
    assert len(ends) == 3
