"""Models whose replicas die and cannot start again: requests do not wait for them until their time-out.

Where a replica is only being replaced they wait, as long as that takes.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.patience import PATIENCE_S
from tests.serve.conftest import Served, serving, until

pytestmark = [pytest.mark.serve, pytest.mark.slow]


def config(folder: Path) -> dict[str, Any]:
    """Return a config with two members and a target, each with a file of records that it needs to start."""
    models = {}
    for name in ("first", "second", "target"):
        records = folder / f"{name}.jsonl"
        records.write_text(json.dumps({"prompt": "?", "text": f"From {name}."}) + "\n")
        slow = {"contains": "slowly", "text": f"From {name}.", "first_token_s": 2}
        models[name] = {"engine": "replay", "records": str(records), "answers": [slow]}
    sleeping = {"autoscaling_config": {"min_replicas": 0}}
    models["sleeper"] = {"engine": "replay", "records": str(folder / "none.jsonl"), "deployment": sleeping}
    models["pair"] = {"engine": "replay", "answers": [slow], "deployment": {"num_replicas": 2}}
    tiers = [{"models": ["first", "second"], "signal": "exact", "threshold": 1}, {"models": ["target"]}]
    args = {"models": models, "cascades": {"default": {"tiers": tiers}}, "router": {"unavailable_after_s": 2}}
    entry = {"name": "cascade", "route_prefix": "/", "import_path": "serve_app.app:build_app", "args": args}
    return {"applications": [entry]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("lost")
    with serving(config(folder), folder) as served:
        yield served


@pytest.fixture
async def http(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    # Less than any time-out of a tier, of which the shortest is 120 s.
    async with httpx.AsyncClient(base_url=served.url, timeout=PATIENCE_S, trust_env=False) as client:
        yield client


async def ask(http: httpx.AsyncClient, **more: Any) -> httpx.Response:
    body = {"model": "default", "messages": [{"role": "user", "content": "?"}]} | more
    return await http.post("/v1/chat/completions", json=body)


def replicas(model: str) -> list[str]:
    """Return the names of the model's actors."""
    import ray

    names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
    return [name for name in names if f"#{model}#" in name]


async def lose(served: Served, model: str) -> None:
    """Take away what the model needs to start, and kill its replica."""
    import ray

    records = served.path.parent / f"{model}.jsonl"

    async def many() -> int:
        return len(replicas(model))

    await until(many, 1)  # one that was replaced may still be on its way out
    records.rename(records.with_suffix(".away"))
    [name] = replicas(model)
    ray.kill(ray.get_actor(name, namespace="serve"))


def give_back(served: Served, model: str) -> None:
    records = served.path.parent / f"{model}.jsonl"
    records.with_suffix(".away").rename(records)


async def test_a_rolling_restart_loses_no_request(served: Served, http: httpx.AsyncClient) -> None:
    """The only replica of each model is replaced, which takes longer than `unavailable_after_s`."""

    def change(values: dict[str, Any]) -> None:
        for model in values["applications"][0]["args"]["models"].values():
            model["parameters"] = 1e9

    served.rewrite(change)
    deploying = asyncio.create_task(asyncio.to_thread(served.deploy))
    flops = 0.0
    async with asyncio.timeout(PATIENCE_S):
        while not flops:
            response = await ask(http)
            assert response.status_code == 200, response.text
            record = response.json()["cascade"]
            assert {model["status"] for model in record["models"].values()} == {"ok"}
            flops = record["cost"]["flops"] or 0.0
    await deploying


async def test_a_router_that_dies_loses_no_request(served: Served, http: httpx.AsyncClient) -> None:
    import ray

    async def many() -> int:
        return len(replicas("Router"))

    await until(many, 1)  # one that was replaced may still be on its way out
    question = {"messages": [{"role": "user", "content": "slowly"}]}
    tasks = [asyncio.create_task(ask(http, **question)) for _ in range(8)]
    await until(lambda: served.active("first"), [8])
    [name] = replicas("Router")
    ray.kill(ray.get_actor(name, namespace="serve"))
    assert [(await answer).status_code for answer in tasks] == [200] * 8
    assert replicas("Router") != [name]


async def test_what_a_lost_replica_worked_on_another_one_answers(served: Served, http: httpx.AsyncClient) -> None:
    import ray

    question = {"model": "pair", "messages": [{"role": "user", "content": "slowly"}]}
    tasks = [asyncio.create_task(ask(http, **question)) for _ in range(8)]

    async def working() -> bool:
        """Return whether the replica that reports has a request; the two share the eight requests."""
        return (await served.active("pair"))[0] > 0

    await until(working, True)
    ray.kill(ray.get_actor(replicas("pair")[0], namespace="serve"))
    assert [(await answer).status_code for answer in tasks] == [200] * 8


async def test_a_lost_member_defers(served: Served, http: httpx.AsyncClient) -> None:
    assert (await ask(http)).json()["cascade"]["reason"] == "disagreement"
    await lose(served, "second")

    async def second() -> Any:
        response = await ask(http)
        assert response.status_code == 200, response.text
        record = response.json()["cascade"]
        assert record["answered_by"] == "target"
        return record["models"]["second"].get("message")

    await until(second, "'second' has had no running replica for more than 2 s.")
    give_back(served, "second")
    await until(second, None)


async def test_a_lost_target_is_a_503_for_those_who_wait_and_those_who_come(
    served: Served, http: httpx.AsyncClient
) -> None:
    await lose(served, "target")

    async def gone() -> bool:
        return "no running replica" in (await ask(http)).text

    # It dies some time after it was killed. The streamed one is answered before any text.
    await until(gone, True)
    plain, streamed = await asyncio.gather(ask(http), ask(http, stream=True))
    for response in (plain, streamed):
        assert "'target' has had no running replica for more than 2 s." in response.text
    assert plain.status_code == 503
    assert (await ask(http, model="target")).status_code == 503
    # What its replica is not needed for goes on.
    assert (await ask(http, model="first")).json()["choices"][0]["message"]["content"] == "From first."
    ready = await http.get("/readyz")
    assert (ready.status_code, ready.json()["waiting_for"]) == (503, ["cascades.default.tiers[1]"])

    give_back(served, "target")

    async def status() -> int:
        return (await ask(http)).status_code

    await until(status, 200)
    # Those that gave up are not answered after all.
    assert (await served.counters("target")).requests == 1


async def test_a_sleeping_model_that_cannot_wake_is_a_503(http: httpx.AsyncClient) -> None:
    response = await ask(http, model="sleeper")
    assert response.status_code == 503
    assert "'sleeper' has had no running replica for more than 2 s." in response.text
