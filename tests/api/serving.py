"""A `Service` over scripted models, and a real server for it: the API without Ray."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import uvicorn
from fastapi import FastAPI

from serve_app.api.fields.cascade_options import CascadeOptions
from serve_app.api.intake.ask import Ask
from serve_app.api.intake.limits import Limits
from serve_app.api.responses.store import LocalResponses, ResponseStore
from serve_app.api.routes import build_api
from serve_app.api.service import ModelCard, Names, Readiness, Service
from serve_app.common.bounded_store import StoreLimits
from serve_app.config.services import RouterConfig
from serve_app.core.charges import charge
from serve_app.core.cost import ModelCost
from serve_app.core.record import DecisionRecord, decision_record
from serve_app.core.running.cascade import Event, cascade_events
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Delta, Failure, Generation, TokenLogprob
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt, ToolCall
from serve_app.core.types.scores import Embedding, Scores
from serve_app.errors import RequestError, UnknownModelError, choices, quoted
from tests.patience import PATIENCE_S

HANG = 3600.0
"""Seconds that no test waits for."""


class Scripted:
    """Answers with one text, word by word in a stream; or fails, or raises what is a bug."""

    def __init__(
        self,
        text: str | Failure | Exception,
        *,
        delay_s: float = 0.0,
        pause_s: float = 0.0,
        finish_reason: Any = "stop",
        tool_calls: tuple[ToolCall, ...] = (),
        reasoning: str = "",
    ) -> None:
        self.text = text
        self.tool_calls = tool_calls
        self.reasoning = reasoning
        self.delay_s = delay_s
        self.pause_s = pause_s  # between two words of a stream
        self.finish_reason = finish_reason
        self.prompts: list[Prompt] = []
        self.entered = asyncio.Event()
        self.stopped = 0

    def _answer(self, prompt: Prompt) -> Answer:
        if isinstance(self.text, Exception):
            raise self.text
        if isinstance(self.text, Failure):
            return self.text
        words = self.text.split(" ")
        alternatives = tuple(TokenLogprob(f"other{n}", -2.0 - n) for n in range(prompt.sampling.top_logprobs))
        logprobs = (
            tuple(TokenLogprob(word, -0.25, alternatives) for word in words) if prompt.sampling.logprobs else None
        )
        return Generation(
            self.text,
            "tool_calls" if self.tool_calls else self.finish_reason,
            prompt_tokens=10,
            completion_tokens=len(words),
            logprobs=logprobs,
            latency_s=0.5,
            first_token_s=0.1,
            tool_calls=self.tool_calls,
            reasoning=self.reasoning,
            reasoning_tokens=len(self.reasoning.split()),
        )

    async def generate(self, prompt: Prompt) -> Answer:
        self.prompts.append(prompt)
        self.entered.set()
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        return self._answer(prompt)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        answer = await self.generate(prompt)
        if isinstance(answer, Generation):
            words = answer.text.split(" ")
            try:
                if answer.reasoning:
                    yield Delta("", answer.prompt_tokens, 1, reasoning=answer.reasoning)
                for number, word in enumerate(words):
                    yield Delta(word if number == 0 else f" {word}", answer.prompt_tokens, number + 1)
                    await asyncio.sleep(self.pause_s)
            except (asyncio.CancelledError, GeneratorExit):
                self.stopped += 1
                raise
        yield answer


class Breaks(Scripted):
    """Streams a word, and then fails or raises."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        yield Delta("The", 10, 1)
        yield await self.generate(prompt)


class Exact:
    """1 for equal texts, else 0.25."""

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        return Scores(tuple(tuple(1.0 if a == b else 0.25 for b in texts) for a in texts))


@dataclass(frozen=True)
class FakeRequest:
    """A request that `service` has opened."""

    service: "FakeService"
    ask: Ask
    run: Run

    def events(self) -> AsyncGenerator[Event, None]:
        return cascade_events(self.run)

    def close(self, outcome: Outcome | None) -> DecisionRecord:
        self.service.closings.append(outcome)
        self.service.closed.set()
        if self.service.breaks_on_close:
            raise RuntimeError("secret")
        charges = charge(self.run, outcome, self.service.costs())
        return decision_record(self.ask.model, self.run, outcome, charges, answers=self.ask.options.include_answers)


class FakeService:
    """One cascade, `default`, of members `a` and `b` and target `t`; single models under their own names."""

    def __init__(self) -> None:
        self.keepalive_s = 10.0
        self.stream_open_s = 10.0
        self.names: Names = "ignore"
        self.limits = Limits(**RouterConfig().limits())
        self.responses: ResponseStore | None = LocalResponses(StoreLimits(entries=100, bytes=1_000_000, ttl_s=60))
        self.models = {"a": Scripted("Paris"), "b": Scripted("Paris"), "t": Scripted("It is Paris.")}
        self.cascade = (Tier(("a", "b"), signal="exact", threshold=0.8), Tier(("t",)))
        self.fallback = False
        self.usd: float | None = None  # for a million tokens
        self.ready = True
        self.breaks_on_close = False
        self.runs: list[Run] = []
        self.asks: list[Ask] = []
        self.closings: list[Outcome | None] = []
        self.closed = asyncio.Event()
        self.embedded: list[list[str]] = []
        self.embedding_fails: Exception | None = None
        self.embedding_s = 0.0
        self.embedding_stopped = 0

    def disagree(self) -> None:
        self.models["b"].text = "Rome"

    def cards(self) -> list[ModelCard]:
        single = [ModelCard(name, "model", {"engine": "scripted"}) for name in self.models]
        encoder = ModelCard("encoder", "embedding", {"signal": "sbert"})
        return [ModelCard("default", "cascade", {"tiers": []}), *single, encoder]

    @property
    def options(self) -> list[CascadeOptions]:
        return [ask.options for ask in self.asks]

    async def recall(self, ask: Ask) -> Ask:
        return ask

    def open(self, ask: Ask) -> FakeRequest:
        model, options = ask.model, ask.options
        tiers = {name: (Tier((name,)),) for name in self.models}
        tiers["default"] = self.cascade
        if model not in tiers:
            message = f"There is no model {quoted(model)}. {choices(model, tiers)}"
            raise UnknownModelError(message, "model", "model_not_found")
        if options.signal not in (None, "exact"):
            raise RequestError(f"cascade.signal: no signal {options.signal!r}. Available: exact.", "cascade.signal")
        *members, target = tiers[model]
        if isinstance(options.threshold, float | int):
            members = [replace(tier, threshold=options.threshold) for tier in members]
        self.asks.append(ask)
        run = Run(
            ask.prompt,
            (*members, target),
            self.models,
            Exact(),
            force=options.force,
            fallback=self.fallback,
            escalated=ask.escalated,
            stream=ask.stream,
            choices=ask.choices,
            caller=ask.caller.name,
        )
        self.runs.append(run)
        return FakeRequest(self, ask, run)

    def costs(self) -> dict[str, ModelCost]:
        return {name: ModelCost(parameters=1e9, input_usd=self.usd, output_usd=self.usd) for name in self.models}

    async def embed(self, model: str, texts: Sequence[str]) -> list[Embedding]:
        """Return two numbers for each text, its length and 1; its words are its tokens."""
        assert model == "encoder"
        if isinstance(self.embedding_fails, Exception):
            raise self.embedding_fails
        self.embedded.append(list(texts))
        try:
            await asyncio.sleep(self.embedding_s)
        except asyncio.CancelledError:
            self.embedding_stopped += 1
            raise
        return [Embedding(struct.pack("<2f", len(text), 1.0), len(text.split())) for text in texts]

    async def readiness(self) -> Readiness:
        return Readiness(self.ready, {"waiting_for": [] if self.ready else ["cascades.default.tiers[0]"]})


class _InLoop(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[str]:
    """Yield the URL of a real server in this event loop, on a free port."""
    async with listening_app(build_api(service)) as url:
        yield url


@asynccontextmanager
async def listening_app(app: FastAPI) -> AsyncIterator[str]:
    """Yield the URL of a real server of an application, as `listening` does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = _InLoop(uvicorn.Config(app, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds. Fails after a minute."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
