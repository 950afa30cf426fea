"""One language model: an engine behind the core's `Model` Protocol, its errors turned into data."""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing

from serve_app.config import DeployedModel
from serve_app.core.types.answer import Answer, Delta
from serve_app.core.types.prompt import Prompt
from serve_app.deployments.observing.logs import drop_unwritable_lines
from serve_app.deployments.observing.metrics import ENGINE_ACTIVE, MODEL, Instruments
from serve_app.engines import Engine, EngineCounters, WeightsSettings, load_engine
from serve_app.engines.running.answer import answer, stream_answer, warm_up
from serve_app.weights import fetch


class PromptServer:
    """The methods of every deployed model that the router calls, over the engine of a subclass."""

    @property
    @abstractmethod
    def _engine(self) -> Engine: ...

    def _engine_of(self, adapter: str | None) -> Engine:
        """Return the engine that answers as `adapter`, or as the model itself if that is None."""
        assert adapter is None, "only vLLM has adapters"
        return self._engine

    async def generate(self, prompt: Prompt, adapter: str | None = None) -> Answer:
        """Return the whole answer, or the failure with what it had cost by then."""
        return await answer(self._engine_of(adapter), prompt)

    async def stream(self, prompt: Prompt, adapter: str | None = None) -> AsyncGenerator[Delta | Answer, None]:
        """Yield deltas, then the whole answer or the failure."""
        async with aclosing(stream_answer(self._engine_of(adapter), prompt)) as items:
            async for item in items:
                yield item

    def counters(self) -> EngineCounters:
        """Return what the engine has done so far and is doing now."""
        return self._engine.counters()


class ModelServer(PromptServer):
    """Fetches the weights (once a node), loads the engine, and answers prompts. `check_health` comes first."""

    def __init__(self, name: str, config: DeployedModel) -> None:
        drop_unwritable_lines()
        self.name = name
        self._config = config
        self._loaded: Engine | None = None
        self._loading = asyncio.Lock()
        self._instruments = Instruments(MODEL)

    async def check_health(self) -> None:
        """Load the engine, and set the gauges. Serve calls this before the first request, in the right event loop."""
        async with self._loading:
            if self._loaded is None:
                self._loaded = await self._load()
        self._instruments.record(ENGINE_ACTIVE, self.counters().active)

    async def _load(self) -> Engine:
        if not isinstance(self._config, WeightsSettings):
            return await load_engine(self._config)
        weights = await asyncio.to_thread(fetch, self._config.weights, self._config.sha256)
        engine = await load_engine(self._config, weights)
        await warm_up(engine)
        return engine

    @property
    def _engine(self) -> Engine:
        assert self._loaded is not None, "check_health comes first"
        return self._loaded

    async def close(self) -> None:
        """Stop the engine."""
        if self._loaded is not None:
            await self._loaded.close()
