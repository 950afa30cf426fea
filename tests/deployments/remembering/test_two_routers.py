"""Two routers over one store, asked over HTTP: what one keeps the other goes on from, and what a lost store costs."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from ray.serve.exceptions import RayServeException

from serve_app.api.routes import build_api
from serve_app.config import AppConfig
from serve_app.deployments.router import Router
from tests.api.serving import until
from tests.deployments.remembering.store_handle import StoreHandle
from tests.deployments.replies import CASCADES, LONG, MODELS, PARIS, ROME, Deployment

TIERS = CASCADES["default"]["tiers"]
SECRET = "swordfish"
ASK: dict[str, Any] = {"model": "default", "input": SECRET}


class Pair:
    """Two routers, their clients, and the store that they share; the members disagree until `agree`."""

    def __init__(self, clients: list[httpx.AsyncClient], routers: list[Router], store: StoreHandle, b: Deployment):
        self.first, self.second = clients
        self.routers = routers
        self.store = store
        self._b = b

    def agree(self) -> None:
        self._b.answer = PARIS

    async def reason(self, client: httpx.AsyncClient, session: str | None = "s") -> str:
        """Ask in a session; return why it was decided as it was."""
        body = {"model": "sticky", "messages": [{"role": "user", "content": SECRET}]}
        headers = {} if session is None else {"x-session-id": session}
        response = await client.post("/v1/chat/completions", json=body, headers=headers)
        assert response.status_code == 200, response.text
        reason: str = response.json()["cascade"]["reason"]
        return reason


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    cascades = {"default": {"tiers": TIERS}, "sticky": {"tiers": TIERS, "stickiness": "escalate"}}
    values = {
        "models": MODELS,
        "cascades": cascades,
        "router": {"deployment": {"num_replicas": 2}, "circuit_breaker": {"failures": 3}},
        "state_store": {"timeout_s": 0.01},
    }
    config = AppConfig.model_validate(values)
    answers = {"a": PARIS, "b": ROME, "c": ROME, "d": ROME, "t": LONG}
    handles: dict[str, Any] = {name: Deployment(answer) for name, answer in answers.items()}
    store: Any = StoreHandle()
    routers = [Router(config, handles, handles["a"], {}, store) for _ in range(2)]
    async with AsyncExitStack() as stack:
        clients = []
        for router in routers:
            transport = httpx.ASGITransport(build_api(router))
            client = httpx.AsyncClient(transport=transport, base_url="http://cascade/")
            clients.append(await stack.enter_async_context(client))
        yield Pair(clients, routers, store, handles["b"])


async def created(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await client.post("/v1/responses", json=ASK | fields)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_a_response_is_gone_on_from_at_the_other_router(pair: Pair) -> None:
    first = await created(pair.first)
    assert first["store"] is True
    second = await created(pair.second, input="And Spain?", previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    response = await pair.first.get(f"/v1/responses/{second['id']}")
    assert response.json() == second


async def test_a_streamed_response_is_kept_before_its_last_event(pair: Pair) -> None:
    pair.agree()  # members are not streamed
    async with pair.first.stream("POST", "/v1/responses", json=ASK | {"stream": True}) as response:
        text = (await response.aread()).decode()
    completed = text.rpartition("event: response.completed")[2]
    id_ = completed.partition('"response":{"id":"')[2].partition('"')[0]
    assert (await pair.second.get(f"/v1/responses/{id_}")).json()["status"] == "completed"


async def test_a_response_that_one_router_deletes_is_gone_at_both(pair: Pair) -> None:
    id_ = (await created(pair.first))["id"]
    assert (await pair.second.delete(f"/v1/responses/{id_}")).json()["deleted"] is True
    assert (await pair.first.get(f"/v1/responses/{id_}")).status_code == 404
    response = await pair.first.post("/v1/responses", json=ASK | {"previous_response_id": id_})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "previous_response_not_found")


async def test_a_response_is_looked_up_without_its_conversation(pair: Pair) -> None:
    id_ = (await created(pair.first))["id"]
    await pair.second.get(f"/v1/responses/{id_}")
    assert pair.store.calls == ["put_response", "get_body"]


async def test_a_deferred_session_stays_with_the_target_at_both(pair: Pair) -> None:
    assert await pair.reason(pair.first) == "disagreement"
    pair.agree()
    assert await pair.reason(pair.second) == "session"
    assert await pair.reason(pair.first) == "session"
    assert await pair.reason(pair.second, "other") == "agreement"


async def test_requests_that_need_nothing_shared_never_ask_the_store(pair: Pair) -> None:
    assert await pair.reason(pair.first, None) == "disagreement"
    body = {"model": "default", "messages": [{"role": "user", "content": "?"}], "cascade": {"session": "s"}}
    await pair.first.post("/v1/chat/completions", json=body)  # of a cascade without stickiness
    await created(pair.first, store=False)
    assert pair.store.calls == []


@pytest.fixture(params=["hangs", "lost"])
def away(request: pytest.FixtureRequest, pair: Pair) -> Pair:
    """Return the two routers with a store that never answers, or cannot be reached."""
    if request.param == "hangs":
        pair.store.hangs = True
    else:
        pair.store.error = RayServeException(f"about {SECRET}")
    return pair


class TestAway:
    async def test_a_session_counts_as_not_deferred(self, pair: Pair, away: Pair) -> None:
        assert await away.reason(away.first) == "disagreement"
        away.agree()
        assert await away.reason(away.second) == "agreement"

    async def test_going_on_is_a_503_that_says_when_to_try_again(self, pair: Pair, away: Pair) -> None:
        responses = [
            await away.first.post("/v1/responses", json=ASK | {"previous_response_id": "resp_1"}),
            await away.first.get("/v1/responses/resp_1"),
            await away.first.delete("/v1/responses/resp_1"),
            await away.first.get("/v1/responses/resp_1"),  # the breaker is open now
        ]
        for response in responses:
            assert (response.status_code, response.headers["retry-after"]) == (503, "5")
            assert response.json()["error"]["message"] == (
                "The store of responses and sessions cannot be reached for the moment; try again."
            )

    async def test_an_answer_that_cannot_be_kept_says_so(self, pair: Pair, away: Pair) -> None:
        assert (await created(away.first, store=True))["store"] is False

    async def test_an_answer_that_says_so_is_not_kept_too_late(self, pair: Pair) -> None:
        pair.store.late = {"put_response"}
        response = await created(pair.first)
        assert response["store"] is False
        await until(lambda: pair.store.calls == ["put_response", "delete_response"])
        assert (await pair.second.get(f"/v1/responses/{response['id']}")).status_code == 404

    async def test_after_failures_in_a_row_nothing_waits_for_it(self, pair: Pair, away: Pair) -> None:
        for _ in range(4):
            await created(away.first)
        # It may have kept what it was given, and forgets it if it is back.
        assert sorted(away.store.calls) == ["delete_response"] * 3 + ["put_response"] * 3
        assert away.routers[0].parts.protection.left_out() == ["StateStore"]

    async def test_sessions_are_shared_while_responses_are_too_slow(self, pair: Pair) -> None:
        """The conversations of one client may be huge."""
        pair.store.hanging = {"put_response"}
        for _ in range(3):
            await created(pair.first)
        assert pair.routers[0].parts.protection.left_out() == ["StateStore"]
        assert await pair.reason(pair.first) == "disagreement"
        pair.agree()
        assert await pair.reason(pair.first) == "session"

    async def test_it_is_logged_once_and_without_texts(
        self, pair: Pair, away: Pair, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "ray.serve"):
            for _ in range(3):
                await created(away.first)
        [line] = [record.getMessage() for record in caplog.records if record.name == "ray.serve"]
        assert line.startswith("The StateStore does not answer: ")
        assert SECRET not in caplog.text

    async def test_a_call_that_takes_too_long_is_stopped(self, pair: Pair) -> None:
        pair.store.hangs = True
        await created(pair.first)
        assert pair.store.cancelled == 1

    async def test_it_is_asked_again_once_it_is_back(self, pair: Pair, away: Pair) -> None:
        assert (await created(away.first))["store"] is False
        away.store.hangs, away.store.error = False, None
        assert (await created(away.first))["store"] is True
