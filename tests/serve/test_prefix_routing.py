"""Prefix-aware routing between three replicas of a scripted model, on real Ray Serve."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import copy_context
from typing import Any

import pytest

from serve_app.config import ReplayModel
from serve_app.core.types.prompt import Message, Prompt
from serve_app.deployments.model_server import ModelServer
from serve_app.engines import EngineCounters
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.serve

APP, MODEL = "prefixes", "target"
SLOTS = 4
FAMILIES = [f"{subject}: " + f"all that is known of {subject}. " * 20 for subject in ("Astronomy", "Botany", "Chess")]
QUESTIONS = ("What is it?", "Who does it?", "Since when?", "Why?")


class Witness(ModelServer):
    """A model that says which replica it is, before it answers."""

    async def locate(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        from ray import serve

        yield str(serve.get_replica_context().replica_id.unique_id)
        await self.generate(prompt)


@pytest.fixture(scope="module")
def handle() -> Iterator[Any]:
    from ray import serve
    from ray.serve._private.request_router.request_router import RequestRouter

    from serve_app.deployments.local.cluster import local_cluster
    from serve_app.deployments.vllm.options import PREFIX_ROUTING

    answers = [{"contains": "slow", "text": "never", "first_token_s": 600}]
    config = ReplayModel.model_validate({"engine": "replay", "parameters": 1e9, "answers": answers, "default": "Yes."})
    deployment = serve.deployment(
        name=MODEL,
        num_replicas=3,
        max_ongoing_requests=SLOTS,
        ray_actor_options={"num_cpus": 0.1},
        graceful_shutdown_timeout_s=1,
        request_router_config=PREFIX_ROUTING,
    )(Witness)
    with pytest.MonkeyPatch.context() as patch, local_cluster():
        # A replica that does not say within 0.1 s how long its queue is, is passed over, whatever its prefixes are.
        patch.setattr(RequestRouter, "queue_len_response_deadline_s", 10.0)
        yield serve.run(deployment.bind(MODEL, config), name=APP, route_prefix=None)


def prompt_of(prefix: str, question: str) -> Prompt:
    return Prompt(messages=(Message("system", prefix), Message("user", question)))


@asynccontextmanager
async def asking(handle: Any, prompt: Prompt) -> AsyncGenerator[str, None]:
    """Yield the replica that works on the prompt, which is cancelled at the end."""
    response = handle.options(method_name="locate", stream=True).remote(prompt)
    try:
        async with asyncio.timeout(PATIENCE_S):
            replica = await anext(response)
        yield replica
    finally:
        response.cancel()


async def replica_for(handle: Any, prompt: Prompt) -> str:
    """Return the replica that has answered the prompt."""
    async with asyncio.timeout(PATIENCE_S):
        replica, *_ = [item async for item in handle.options(method_name="locate", stream=True).remote(prompt)]
    return str(replica)


def memory() -> Any:
    """Return the actor in which Ray's class keeps the prompts."""
    import ray

    return ray.get_actor("LlmPrefixTreeActor", namespace=f"serve::{APP}::{MODEL}")


async def test_each_prefix_has_its_replica(handle: Any) -> None:
    homes = [{await replica_for(handle, prompt_of(prefix, question)) for question in QUESTIONS} for prefix in FAMILIES]
    assert [len(home) for home in homes] == [1, 1, 1]
    assert len(set.union(*homes)) == 3


async def test_a_raw_text_has_the_replica_of_the_messages_that_say_the_same(handle: Any) -> None:
    home = await replica_for(handle, prompt_of(FAMILIES[0], "How?"))
    assert await replica_for(handle, Prompt(text=FAMILIES[0] + "Where?")) == home


async def test_a_full_replica_is_passed_over(handle: Any) -> None:
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(asking(handle, prompt_of(FAMILIES[1], "slow"))) for _ in range(SLOTS)
        ]
        assert len(set(replicas)) == 1
        assert await replica_for(handle, prompt_of(FAMILIES[1], "And now?")) != replicas[0]


async def test_a_prompt_without_text_is_answered(handle: Any) -> None:
    assert await replica_for(handle, Prompt(text=""))


async def test_a_call_without_a_prompt_is_answered(handle: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await handle.counters.remote(), EngineCounters)


async def test_calls_that_one_request_makes_at_once_are_all_answered(handle: Any) -> None:
    """A base and its adapters in one tier: Ray knows calls by the id of the HTTP request that they are made for."""
    from ray.serve import context

    request = copy_context()
    request.run(context._serve_request_context.set, context._RequestContext(_internal_request_id="one"))
    prompt = prompt_of(FAMILIES[0], "All at once?")
    calls = [asyncio.create_task(replica_for(handle, prompt), context=request) for _ in range(3)]
    assert len(await asyncio.gather(*calls)) == 3


async def test_a_replica_that_only_the_memory_has(handle: Any) -> None:
    """Left over from an application of the same name, or too new for this router."""
    from ray.serve._private.common import DeploymentID, ReplicaID

    ghost = ReplicaID("ghost", DeploymentID(MODEL, APP)).to_full_id_str()
    await memory().add_tenants.remote([ghost], 0.0)
    assert await replica_for(handle, prompt_of("Dancing. " * 20, "What is it?"))


async def test_the_memory_is_lost(handle: Any) -> None:
    """It is one actor, and its node can die."""
    import ray

    ray.kill(memory())
    assert await replica_for(handle, prompt_of(FAMILIES[2], "What is it?"))
