"""Short ways to ask an engine something."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from serve_app.core.types.answer import Delta, Generation
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.engines import Engine, EngineCounters, Meter
from serve_app.errors import EngineError
from tests.patience import PATIENCE_S

QUESTION = "What is the capital of France?"


def chat(text: str, **sampling: Any) -> Prompt:
    return Prompt(messages=(Message("user", text),), sampling=Sampling(**sampling))


def raw(text: str, **sampling: Any) -> Prompt:
    return Prompt(text=text, sampling=Sampling(**sampling))


async def generate(engine: Engine, prompt: Prompt) -> Generation:
    """Return the answer, after checking that its counts are the meter's."""
    meter = Meter()
    generation = await asyncio.wait_for(engine.generate(prompt, meter), PATIENCE_S)
    assert (meter.prompt_tokens, meter.completion_tokens) == (
        generation.prompt_tokens,
        generation.completion_tokens,
    )
    return generation


async def ask(engine: Engine, prompt: Prompt | None = None) -> Generation:
    return await generate(engine, prompt or chat(QUESTION))


async def failure(engine: Engine, prompt: Prompt | None = None) -> tuple[str, Meter]:
    meter = Meter()
    with pytest.raises(EngineError) as caught:
        await engine.generate(prompt or chat(QUESTION), meter)
    return str(caught.value), meter


async def stream(engine: Engine, prompt: Prompt) -> tuple[list[Delta], Generation]:
    """Return all deltas and the answer, after checking that it is their sum."""
    meter = Meter()
    deltas: list[Delta] = []
    generation = None
    async for item in engine.stream(prompt, meter):
        assert generation is None, "nothing comes after the generation"
        if isinstance(item, Generation):
            generation = item
        else:
            deltas.append(item)
    assert generation is not None
    assert "".join(delta.text for delta in deltas) == generation.text
    assert "".join(delta.reasoning for delta in deltas) == generation.reasoning
    assert all(delta.text or delta.reasoning for delta in deltas)
    assert not any(before.text and after.reasoning for before, after in pairwise(deltas))
    assert (meter.prompt_tokens, meter.completion_tokens) == (
        generation.prompt_tokens,
        generation.completion_tokens,
    )
    return deltas, generation


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - an engine's counters raise no event
            await asyncio.sleep(0.005)


async def active(engine: Engine, requests: int) -> None:
    """Wait until so many requests hold a slot, by the engine's own counters."""
    await until(lambda: engine.counters().active == requests)


async def idle(engine: Engine) -> EngineCounters:
    """Return the counters once no request holds a slot."""
    await active(engine, 0)
    await asyncio.sleep(0.05)
    return engine.counters()
