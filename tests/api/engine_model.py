"""A real engine as a model of a `FakeService`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from serve_app.core.types.answer import Answer, Delta
from serve_app.core.types.prompt import Prompt
from serve_app.engines import Engine
from serve_app.engines.running.answer import answer, stream_answer


class EngineModel:
    """An engine as the router calls it, without Ray."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def generate(self, prompt: Prompt) -> Answer:
        return await answer(self._engine, prompt)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        async with aclosing(stream_answer(self._engine, prompt)) as items:
            async for item in items:
                yield item
