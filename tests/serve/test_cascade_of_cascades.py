"""A cascade whose target is another cascade of the same server, over HTTP: the openai_api engine on real Ray Serve."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest

from loadtests.ports import free_port
from tests.serve.conftest import Served, serving, until

pytestmark = pytest.mark.serve

QUESTION = {"messages": [{"role": "user", "content": "How many?"}]}


def config(url: str) -> dict[str, Any]:
    free = {"engine": "replay", "input_usd": 0}
    models = {name: free | {"default": f"The answer is {name}."} for name in ("one", "two", "three")}
    final = {"contains": "slow", "text": "word " * 2000, "token_s": 0.05}
    models["final"] = {"engine": "replay", "default": "From the target.", "answers": [final]}
    inner = {"engine": "openai_api", "base_url": f"{url}/v1", "keyless": True, "model": "inner"}
    models["whole"] = inner | {"input_usd": 1.0, "output_usd": 10.0}
    judged = {"signal": "rougeL", "threshold": 0.9}
    cascades = {
        "outer": {"tiers": [{"models": ["one", "two"], **judged}, {"models": ["whole"]}]},
        "inner": {"tiers": [{"models": ["two", "three"], **judged}, {"models": ["final"]}]},
    }
    args = {"models": models, "cascades": cascades}
    application = {"name": "cascade", "route_prefix": "/", "import_path": "serve_app.app:build_app", "args": args}
    return {"applications": [application]}


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    port = free_port()
    with serving(config(f"http://127.0.0.1:{port}"), tmp_path_factory.mktemp("nested"), port) as served:
        yield served


@pytest.fixture
async def client(nested: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{nested.url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_the_inner_cascade_answers_for_the_target(client: openai.AsyncOpenAI) -> None:
    response = await client.chat.completions.create(model="outer", **QUESTION)
    assert response.choices[0].message.content == "From the target."
    record = response.model_extra["cascade"]
    assert (record["deferred"], record["answered_by"]) == (True, "whole")
    # The inner cascade asked three models: 2 words of prompt each, answers of 4, 4 and 3 words.
    assert record["models"]["whole"]["prompt_tokens"] == 6
    assert record["models"]["whole"]["completion_tokens"] == 11
    assert record["cost"]["usd"] == pytest.approx((6 * 1.0 + 11 * 10.0) / 1e6)
    assert "estimated" not in record["cost"]


async def test_its_tokens_are_streamed_through(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="outer", stream=True, **QUESTION)
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert deltas == ["From", " the", " target."]
    assert chunks[-1].model_extra["cascade"]["answered_by"] == "whole"


async def test_logprobs_that_a_model_cannot_give_are_refused(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="logprobs: 'whole' cannot give log-probabilities") as caught:
        await client.chat.completions.create(model="outer", logprobs=True, **QUESTION)
    assert caught.value.param == "logprobs"


async def test_a_client_that_leaves_frees_the_innermost_model(nested: Served, client: openai.AsyncOpenAI) -> None:
    asked = {"messages": [{"role": "user", "content": "A slow one."}]}
    stream = await client.chat.completions.create(model="outer", stream=True, **asked)
    for _ in range(5):
        await anext(stream)
    assert await nested.active("whole", "final") == [1, 1]
    await stream.close()
    await until(lambda: nested.active("whole", "final"), [0, 0])
