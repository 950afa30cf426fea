"""What Ray's prefix-aware routing is given to read. tests/serve/test_prefix_routing.py has it on Ray Serve."""

import asyncio

import pytest
from ray.serve._private.common import RequestMetadata
from ray.serve.request_router import PendingRequest

from serve_app.core.types.prompt import Message, Prompt, ToolCall
from serve_app.deployments.vllm.prefix_routing import PromptPrefixRouter, Readable, readable, text_of


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (Prompt(text="Once upon a time"), "Once upon a time"),
        (Prompt(text=""), ""),
        (Prompt(messages=(Message("system", "Be brief. "), Message("user", "Why?"))), "Be brief. Why?"),
        (Prompt(messages=(Message("user", ""),)), ""),
        (
            Prompt(
                messages=(
                    Message("user", "Weather?"),
                    Message("assistant", "", (ToolCall("1", "get_weather", "{}"),)),
                    Message("tool", "Sunny.", tool_call_id="1"),
                )
            ),
            "Weather?Sunny.",
        ),
    ],
)
def test_text_of_a_prompt(prompt: Prompt, text: str) -> None:
    assert text_of(prompt) == text


async def request(*args: object, **kwargs: object) -> PendingRequest:
    metadata = RequestMetadata(request_id="r", internal_request_id="i")
    return PendingRequest(list(args), kwargs, metadata, future=asyncio.get_running_loop().create_future())


async def test_ray_reads_the_text_and_the_rest_of_the_request_stays() -> None:
    pending_request = await request(Prompt(text="Once"))
    read = readable(pending_request)
    assert read.args == [Readable("Once")]
    assert pending_request.args == [Prompt(text="Once")]
    assert read.future is pending_request.future
    assert read.routing_context is pending_request.routing_context
    assert read.metadata is pending_request.metadata


async def test_what_one_adapter_has_read_is_of_no_use_to_another() -> None:
    assert readable(await request(Prompt(text="Once"), adapter="sql")).args == [Readable("sqlOnce")]


async def test_nothing_to_read() -> None:
    """Of a text without characters Ray's class would take a share; calls such as `counters` have no prompt at all."""
    assert readable(await request(Prompt(text=""))).args == []
    assert readable(await request()).args == []


@pytest.mark.vllm
def test_it_is_rays_public_class() -> None:
    """Under the name that the documentation gives, which needs vLLM."""
    from ray.serve.llm.request_router import PrefixCacheAffinityRouter

    assert PromptPrefixRouter.__bases__ == (PrefixCacheAffinityRouter.__mro__[1],)
