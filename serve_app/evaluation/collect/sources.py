"""Sources of answers: each model's engine in this process, one model at a time, or a running server (see `server`)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from serve_app.config import ModelConfig, VllmLoraModel, VllmModel
from serve_app.core.types.answer import Answer
from serve_app.core.types.prompt import Prompt
from serve_app.engines import Engine, load_engine
from serve_app.engines.running.answer import answer, warm_up
from serve_app.engines.vllm.engine import VllmEngine

Ask: TypeAlias = Callable[[Prompt], Awaitable[Answer]]
"""A model: prompt -> answer or failure."""


class Source(Protocol):
    """Provides models to ask."""

    def open(self, model: str) -> AbstractAsyncContextManager[Ask]:
        """Keep a model ready to be asked for as long as the context lasts."""
        ...


class Engines:
    """Loads each model when it is opened, and frees it after; an adapter with its base, which `models` must have."""

    def __init__(self, models: Mapping[str, ModelConfig], weights: Mapping[str, Path]) -> None:
        self._models = models
        self._weights = weights

    @asynccontextmanager
    async def open(self, model: str) -> AsyncIterator[Ask]:
        """Yield the model, loaded and warm. Raises `EngineError` if it cannot be loaded."""
        engine = await self._load(model)
        try:
            if model in self._weights:
                await warm_up(engine)
            yield lambda prompt: answer(engine, prompt)
        finally:
            await engine.close()

    async def _load(self, model: str) -> Engine:
        config = self._models[model]
        if not isinstance(config, VllmLoraModel):
            return await load_engine(config, self._weights.get(model))
        base = self._models[config.base]
        assert isinstance(base, VllmModel)
        return await VllmEngine.load(base, self._weights[config.base], self._weights[model])


async def ask_all(
    ask: Ask, prompts: Iterable[tuple[str, Prompt]], concurrency: int, take: Callable[[str, Answer], None]
) -> None:
    """Ask every (id, prompt), up to `concurrency` at once; `take` receives each answer as it comes.

    Nothing is awaited between an answer and `take`, so cancelling loses only unanswered prompts. The first error ends
    it and is raised as it is.
    """
    waiting = iter(prompts)

    async def work() -> None:
        for id_, prompt in waiting:
            take(id_, await ask(prompt))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except BaseExceptionGroup as failed:
        raise _first(failed) from None


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
