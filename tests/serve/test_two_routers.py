"""Two routers on real Ray Serve: what one keeps the other goes on from, keys have their limits once, and one that dies
leaves no gap.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.config.key_file import create_key
from serve_app.deployments.remembering.window_counts import News
from tests.patience import PATIENCE_S
from tests.serve.conftest import Served, serving, until

pytestmark = [pytest.mark.serve, pytest.mark.slow]

ROUTERS = 2
LIMIT = 12
MEMBERS = {"models": ["first", "second"], "signal": "exact", "threshold": 1}


def config(keys: Path) -> dict[str, Any]:
    """Return a cascade whose members agree unless they are asked about Rome."""
    rome = {"contains": "Rome", "text": "Yes."}
    cascade = {"tiers": [MEMBERS, {"models": ["target"]}]}
    args = {
        "models": {
            "first": {"engine": "replay", "default": "No."},
            "second": {"engine": "replay", "default": "No.", "answers": [rome]},
            "target": {"engine": "replay", "default": "From the target."},
        },
        "cascades": {"default": cascade | {"stickiness": "escalate"}, "watched": cascade},
        "router": {"deployment": {"num_replicas": ROUTERS}, "access": {"keys_file": str(keys)}},
        "state_store": {"timeout_s": 5},  # of a busy machine
    }
    entry = {"name": "cascade", "route_prefix": "/", "import_path": "serve_app.app:build_app", "args": args}
    return {"applications": [entry]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("routers")


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, dict[str, str]]:
    """Return keys by their names, as headers: one for operators, one without limits, and one with."""
    rights: dict[str, dict[str, Any]] = {"ops": {"admin": True}, "free": {}, "limited": {"requests_per_minute": LIMIT}}
    return {
        name: {"x-api-key": create_key(folder / "keys.yaml", name, **key_rights)} for name, key_rights in rights.items()
    }


@pytest.fixture(scope="module")
def served(folder: Path, keys: dict[str, dict[str, str]]) -> Iterator[Served]:
    with serving(config(folder / "keys.yaml"), folder) as served:
        yield served


@pytest.fixture
async def http(served: Served, keys: dict[str, dict[str, str]]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=served.url, timeout=PATIENCE_S, trust_env=False, headers=keys["free"]
    ) as client:
        yield client


def replicas(deployment: str) -> list[str]:
    """Return the names of the deployment's actors."""
    import ray

    names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
    return sorted(name for name in names if f"#{deployment}#" in name)


def kill(name: str) -> None:
    import ray

    ray.kill(ray.get_actor(name, namespace="serve"))


async def running() -> int:
    """Return how many routers Serve counts as running."""
    from ray import serve

    status = await asyncio.to_thread(serve.status)
    return status.applications["cascade"].deployments["Router"].replica_states.get("RUNNING", 0)


async def replace(name: str, gone: asyncio.Event | None = None) -> None:
    """Kill a router, and return when there is another one; `gone` is set once Serve has noticed."""
    kill(name)
    await until(running, ROUTERS - 1)
    if gone is not None:
        gone.set()
    await until(running, ROUTERS)


async def keep(http: httpx.AsyncClient, text: str, **fields: Any) -> dict[str, Any]:
    response = await http.post("/v1/responses", json={"model": "default", "input": text} | fields)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def reason(http: httpx.AsyncClient, text: str) -> str:
    body = {"model": "default", "messages": [{"role": "user", "content": text}], "cascade": {"session": "s"}}
    response = await http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    decided: str = response.json()["cascade"]["reason"]
    return decided


async def test_each_router_goes_on_from_what_another_one_kept(
    http: httpx.AsyncClient, keys: dict[str, dict[str, str]]
) -> None:
    """Both are replaced, so neither of the two that are asked in the end has kept anything itself."""
    assert (await http.get("/readyz", headers=keys["ops"])).json()["replicas"]["StateStore"] == 1
    first = await keep(http, "Is it Paris?")
    assert first["store"] is True
    assert await reason(http, "Is it Rome?") == "disagreement"
    for name in replicas("Router"):
        await replace(name)
    assert (await http.get(f"/v1/responses/{first['id']}")).json() == first
    assert (await keep(http, "And Rome?", previous_response_id=first["id"]))["previous_response_id"] == first["id"]
    assert await reason(http, "Is it Paris?") == "session"


async def counted_by_the_store() -> int:
    """Return how many requests of the limited key the routers have told their store of, in the newest minute."""
    from ray import serve

    store = serve.get_deployment_handle("StateStore", "cascade")
    news: News = await store.exchange_counts.remote([], "", 0)
    minutes = {int(window.name.rpartition("/")[2]): window.counts for window in news.windows}
    return sum(minutes[max(minutes)].values()) if minutes else 0


async def test_a_key_has_its_limit_once(http: httpx.AsyncClient, keys: dict[str, dict[str, str]]) -> None:
    """Each router by itself would admit as many.

    The next request comes once the store knows of the last one. So each router admits at most one or two that it would
    have refused had it been told of the other's, however slow the exchange is.
    """
    body = {"model": "default", "messages": [{"role": "user", "content": "Is it Paris?"}]}
    admitted, refused, sent, left_s = 0, 0, 0, 60
    async with asyncio.timeout(PATIENCE_S):
        while refused < LIMIT:  # in a row, so that both are asked
            response = await http.post("/v1/chat/completions", json=body, headers=keys["limited"])
            before_s, left_s = left_s, int(response.headers["x-ratelimit-reset-requests"].removesuffix("s"))
            if left_s > before_s:  # the next minute has begun
                admitted = refused = sent = 0
            sent += 1
            admitted += response.status_code == 200
            refused = refused + 1 if response.status_code == 429 else 0
            with suppress(TimeoutError):  # with its minute the store forgets what it knows of it
                async with asyncio.timeout(left_s):
                    while await counted_by_the_store() < sent:  # noqa: ASYNC110 - a store raises no event
                        await asyncio.sleep(0.02)
    assert LIMIT <= admitted < 1.5 * LIMIT


async def snapshot(http: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    """Return the next figures of the live view, by any router."""
    async with http.stream("GET", "/page/live", headers=headers) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                figures: dict[str, Any] = json.loads(line.removeprefix("data: "))
                return figures
    raise AssertionError("the live view ended before its first figures")


async def test_each_view_shows_the_requests_of_all_routers(
    http: httpx.AsyncClient, keys: dict[str, dict[str, str]]
) -> None:
    """Each router by itself would show its own part; what a router counted that dies leaves the sums."""

    async def views() -> list[dict[str, Any]]:
        """Return eight views, each by the router that Serve chooses."""
        return await asyncio.gather(*(snapshot(http, keys["ops"]) for _ in range(8)))

    async def routers() -> int:
        return min([len(view["routers"]) for view in await views()])

    async def deciding() -> set[str]:
        recent = (await views())[0]["recent"]
        return {decision["router"] for decision in recent if decision["id"] == "watched"}

    async def counts() -> dict[str, int]:
        """Return how many requests each router's view counts."""
        return {view["router"]: view["cascades"][1]["asked"] for view in await views()}

    await until(routers, ROUTERS)
    body = {"model": "watched", "messages": [{"role": "user", "content": "Is it Paris?"}]}
    requests = 0
    async with asyncio.timeout(PATIENCE_S):
        while len(await deciding()) < ROUTERS:
            for response in await asyncio.gather(*(http.post("/v1/chat/completions", json=body) for _ in range(8))):
                assert response.status_code == 200, response.text
                requests += 1
    names = await deciding()
    await until(counts, dict.fromkeys(names, requests))
    await replace(replicas("Router")[0])

    async def left() -> int:
        return len(names & {name for view in await views() for name in view["routers"]})

    await until(left, 1)
    await until(routers, ROUTERS)
    assert all(0 < count < requests for count in (await counts()).values())


async def test_no_request_waits_for_the_restart_of_a_router(served: Served, http: httpx.AsyncClient) -> None:
    """Each client has several answers between the loss of a router and its return; had one waited, it had none."""
    gone, back = asyncio.Event(), asyncio.Event()

    async def ask_on() -> int:
        count = 0
        while not back.is_set():
            since = gone.is_set()
            await reason(http, "Is it Paris?")
            count += since and not back.is_set()
        return count

    async with asyncio.TaskGroup() as clients:
        asking = [clients.create_task(ask_on()) for _ in range(8)]
        await replace(replicas("Router")[0], gone)
        back.set()
    assert min(task.result() for task in asking) > 1


async def test_a_lost_store_takes_no_request_along(served: Served, http: httpx.AsyncClient) -> None:
    async def stored() -> bool:
        return (await keep(http, "Is it Paris?"))["store"] is True

    await until(stored, True)
    [store] = replicas("StateStore")
    kill(store)
    assert await reason(http, "Is it Paris?") in ("session", "agreement")  # it may die a moment later
    await until(stored, True)
    assert await reason(http, "Is it Rome?") in ("session", "disagreement")
