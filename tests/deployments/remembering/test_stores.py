"""What both kinds of stores promise: those in the router's process, and those that router replicas share."""

from dataclasses import dataclass
from typing import Any

import pytest

from serve_app.api.responses.store import KeptResponse, ResponseStore
from serve_app.config import AppConfig
from serve_app.core.types.prompt import Message
from serve_app.deployments.protecting.circuit_breaker import CircuitBreaker
from serve_app.deployments.remembering import shared
from serve_app.deployments.remembering.sessions import LocalSessions, Session, SessionStore
from serve_app.deployments.remembering.shared import stores
from tests.deployments.remembering.store_handle import StoreHandle
from tests.deployments.replies import CASCADES, MODELS

PARIS = KeptResponse(b'{"id": "r"}', (Message("user", "Capital of France?"), Message("assistant", "Paris")))
SESSION = Session("default", "alice", "s")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Stores:
    responses: ResponseStore
    sessions: SessionStore
    clock: Clock


@pytest.fixture(params=["local", "shared"])
def small_stores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """Return stores of at most two responses, 2000 bytes and two sessions; a response is kept for 60 s."""
    clock = Clock()
    router = {"responses": {"store_entries": 2, "store_bytes": 2000, "ttl_s": 60}, "max_sessions": 2}
    config = AppConfig.model_validate({"models": MODELS, "cascades": CASCADES, "router": router})
    handle: Any = StoreHandle(config.router.responses.limits(), 2, clock) if request.param == "shared" else None
    if handle is None:
        local: Any = shared.LocalResponses
        monkeypatch.setattr(shared, "LocalResponses", lambda limits: local(limits, clock))
        monkeypatch.setattr(shared, "LocalSessions", lambda most: LocalSessions(most, clock))
    breakers = {"StateStore": CircuitBreaker(config.router.circuit_breaker)}
    responses, sessions = stores(config, handle, breakers)
    assert responses is not None
    return Stores(responses, sessions, clock)


class TestResponses:
    async def test_a_response_is_kept_until_it_is_deleted(self, small_stores: Stores) -> None:
        assert await small_stores.responses.get(("alice", "r")) is None
        assert await small_stores.responses.put(("alice", "r"), PARIS)
        assert await small_stores.responses.get(("alice", "r")) == PARIS
        assert await small_stores.responses.delete(("alice", "r"))
        assert await small_stores.responses.get(("alice", "r")) is None
        assert not await small_stores.responses.delete(("alice", "r"))

    async def test_its_body_is_there_without_its_conversation(self, small_stores: Stores) -> None:
        await small_stores.responses.put(("alice", "r"), PARIS)
        assert await small_stores.responses.body(("alice", "r")) == b'{"id": "r"}'
        for response_key in (("alice", "s"), ("bob", "r")):
            assert await small_stores.responses.body(response_key) is None

    async def test_a_response_belongs_to_its_key(self, small_stores: Stores) -> None:
        await small_stores.responses.put(("alice", "r"), PARIS)
        for api_key in ("bob", None):
            assert await small_stores.responses.get((api_key, "r")) is None
            assert not await small_stores.responses.delete((api_key, "r"))
        assert await small_stores.responses.get(("alice", "r")) == PARIS

    async def test_the_oldest_is_forgotten_first(self, small_stores: Stores) -> None:
        for id_ in ("1", "2", "3"):
            assert await small_stores.responses.put((None, id_), PARIS)
        assert [await small_stores.responses.get((None, id_)) for id_ in ("1", "2", "3")] == [None, PARIS, PARIS]

    async def test_one_that_is_too_large_is_not_kept(self, small_stores: Stores) -> None:
        assert not await small_stores.responses.put((None, "r"), KeptResponse(b"x" * 2001, ()))
        assert await small_stores.responses.get((None, "r")) is None

    async def test_it_is_forgotten_after_its_time(self, small_stores: Stores) -> None:
        await small_stores.responses.put((None, "r"), PARIS)
        small_stores.clock.now = 59
        assert await small_stores.responses.get((None, "r")) == PARIS
        small_stores.clock.now = 60
        assert await small_stores.responses.get((None, "r")) is None


class TestSessions:
    async def test_a_session_is_forgotten_after_its_last_request(self, small_stores: Stores) -> None:
        assert not await small_stores.sessions.is_deferred(SESSION, 60)
        await small_stores.sessions.remember(SESSION, 60)
        small_stores.clock.now = 59
        assert await small_stores.sessions.is_deferred(SESSION, 60)  # which begins its time anew
        small_stores.clock.now = 118
        assert await small_stores.sessions.is_deferred(SESSION, 60)
        small_stores.clock.now = 178
        assert not await small_stores.sessions.is_deferred(SESSION, 60)

    async def test_a_session_belongs_to_its_key_and_its_cascade(self, small_stores: Stores) -> None:
        await small_stores.sessions.remember(SESSION, 60)
        for session in (
            Session("three", "alice", "s"),
            Session("default", None, "s"),
            Session("default", "alice", "t"),
        ):
            assert not await small_stores.sessions.is_deferred(session, 60)

    async def test_the_one_that_was_longest_without_a_request_is_forgotten_first(self, small_stores: Stores) -> None:
        first, second, third = (Session("default", None, name) for name in ("one", "two", "three"))
        for session in (first, second):
            await small_stores.sessions.remember(session, 60)
        assert await small_stores.sessions.is_deferred(first, 60)
        await small_stores.sessions.remember(third, 60)
        assert [await small_stores.sessions.is_deferred(key, 60) for key in (first, second, third)] == [
            True,
            False,
            True,
        ]
