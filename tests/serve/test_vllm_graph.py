"""A cascade of two real models on vLLM (CPU) and Ray Serve, end to end, asked by the official client."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.patience import PATIENCE_S
from tests.serve.conftest import Served, serving, until

pytestmark = [pytest.mark.serve, pytest.mark.models, pytest.mark.vllm]

QUESTION = "What is the capital of France? Answer in one word."


def model(folder: Path, **values: object) -> dict[str, Any]:
    """Return a model that is small and quick to start, with a small bundle: two share this machine's cores."""
    return {
        "engine": "vllm",
        "weights": str(folder),
        "device": "cpu",
        "dtype": "bfloat16",
        "context_tokens": 1024,
        "max_num_seqs": 4,
        "enforce_eager": True,
        "env": {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"},
        "deployment": {"placement_group_bundles": [{"CPU": 0.5}]},
        **values,
    }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from tests.models.vllm_models import folder

    config = {
        "applications": [
            {
                "name": "cascade",
                "route_prefix": "/",
                "import_path": "serve_app.app:build_app",
                "args": {
                    "models": {
                        "smollm2-135m": model(folder("smollm2-135m"), parameters=135e6),
                        "qwen-0.5b": model(folder("qwen-0.5b"), parameters=494e6, tool_call_parser="hermes"),
                    },
                    "cascades": {
                        "default": {
                            "tiers": [
                                {"models": ["smollm2-135m"], "signal": "chow_avg", "threshold": -0.5},
                                {"models": ["qwen-0.5b"]},
                            ]
                        }
                    },
                },
            }
        ]
    }
    with serving(config, tmp_path_factory.mktemp("vllm")) as served:
        yield served


@pytest.fixture
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE_S
    ) as client:
        yield client


def ask(text: str, **options: Any) -> dict[str, Any]:
    request = {"model": "default", "messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 24}
    return request | options


async def test_the_token_signal_decides(client: openai.AsyncOpenAI) -> None:
    """The mean log-probability that the record names is that of the member's own tokens."""
    alone = await client.chat.completions.create(**ask(QUESTION, model="smollm2-135m"), logprobs=True)
    logprobs = [token.logprob for token in alone.choices[0].logprobs.content]
    mean = sum(logprobs) / len(logprobs)
    for threshold, deferred in ((mean - 0.01, False), (mean + 0.01, True)):
        response = await client.chat.completions.create(
            **ask(QUESTION), extra_body={"cascade": {"threshold": threshold}}
        )
        record = response.model_extra["cascade"]
        assert record["deferred"] is deferred
        assert record["answered_by"] == ("qwen-0.5b" if deferred else "smollm2-135m")
        assert record["tiers"][0]["agreement"] == pytest.approx(mean, abs=2e-3)
        assert "Paris" in response.choices[0].message.content


@pytest.mark.parametrize("force", ["accept", "defer"])
async def test_streaming_gives_the_same_answer(client: openai.AsyncOpenAI, force: str) -> None:
    options = {"extra_body": {"cascade": {"force": force}}}
    plain = await client.chat.completions.create(**ask(QUESTION, **options))
    stream = await client.chat.completions.create(**ask(QUESTION, **options), stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == plain.choices[0].message.content


async def test_raw_completions(client: openai.AsyncOpenAI) -> None:
    response = await client.completions.create(model="qwen-0.5b", prompt="1, 2, 3, 4,", max_tokens=8, temperature=0)
    assert "5" in response.choices[0].text
    assert response.usage.completion_tokens == 8


async def test_a_seed_repeats_the_answer_to_a_long_prompt(client: openai.AsyncOpenAI) -> None:
    """vLLM on CPU would die of it if it read the prompt in parts, as it does by default beside other requests."""
    request = ask("word " * 600 + "Tell me a story.", model="smollm2-135m", max_tokens=8, seed=7, temperature=1)
    answers = await asyncio.gather(*(client.chat.completions.create(**request) for _ in range(4)))
    assert all(answer.usage.completion_tokens >= 1 for answer in answers)
    alone = [await client.chat.completions.create(**request) for _ in range(2)]
    assert alone[0].choices[0].message.content == alone[1].choices[0].message.content


async def test_a_context_that_is_too_long_says_both_lengths(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"The prompt has \d{4} tokens, but the context holds 1024"):
        await client.chat.completions.create(**ask("word " * 3000, model="qwen-0.5b"))


async def test_a_client_that_leaves_frees_the_engine(served: Served, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        **ask("Tell me a very long story.", model="qwen-0.5b", max_tokens=900), stream=True
    )
    for _ in range(4):
        await anext(stream)
    await until(lambda: served.active("qwen-0.5b"), [1])
    before = (await served.counters("qwen-0.5b")).completion_tokens
    await stream.close()
    await until(lambda: served.active("qwen-0.5b"), [0])
    assert (await served.counters("qwen-0.5b")).completion_tokens - before < 200


async def test_a_plain_request_that_is_dropped_frees_the_engine(served: Served, client: openai.AsyncOpenAI) -> None:
    request = asyncio.create_task(
        client.chat.completions.create(**ask("Tell me a very long story.", model="qwen-0.5b", max_tokens=900))
    )
    await until(lambda: served.active("qwen-0.5b"), [1])
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await until(lambda: served.active("qwen-0.5b"), [0])


# An integer of any length might not end within the tokens of an answer.
INHABITANTS = [20_000, 200_000, 2_000_000]
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "inhabitants": {"type": "integer", "enum": INHABITANTS},
    },
    "required": ["city", "inhabitants"],
    "additionalProperties": False,
}


async def test_a_response_format_constrains_the_answer(client: openai.AsyncOpenAI) -> None:
    """The small model by itself would write prose."""
    response = await client.chat.completions.create(
        **ask("Tell me about Paris.", model="smollm2-135m", max_tokens=100),
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}},
    )
    body = json.loads(response.choices[0].message.content)
    assert isinstance(body["city"], str)
    assert body["inhabitants"] in INHABITANTS


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
        },
    },
}


async def test_tools_are_called(client: openai.AsyncOpenAI) -> None:
    response = await client.chat.completions.create(
        **ask("What is the weather in Rome?", model="qwen-0.5b", max_tokens=60),
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    (call,) = response.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")


async def test_a_model_without_a_tool_parser_refuses_tools(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="tools"):
        await client.chat.completions.create(**ask(QUESTION, model="smollm2-135m"), tools=[TOOL])


async def test_engine_metrics_are_rays(served: Served, client: openai.AsyncOpenAI) -> None:
    """vLLM's own metrics stand beside Ray's, for one scraper."""
    import ray

    addresses = [f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics" for node in ray.nodes()]
    import httpx

    async def has_metrics() -> bool:
        try:
            async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as http:
                pages = [(await http.get(address)).text for address in addresses]
        except httpx.TransportError:  # busy, and asked again
            return False
        return any("ray_vllm_generation_tokens_total" in page for page in pages)

    await until(has_metrics, True)
