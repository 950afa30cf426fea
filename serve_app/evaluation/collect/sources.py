"""Where answers come from: each model's engine in this process, one model at a time, or a running server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast, get_args

from serve_app.config import ModelConfig, VllmLoraModel, VllmModel
from serve_app.core.loopback import is_loopback
from serve_app.core.record import CallRecord
from serve_app.core.record_json import from_json
from serve_app.core.types import Answer, Failure, FailureKind, Prompt
from serve_app.engines import Engine, load_engine
from serve_app.engines.base import Meter
from serve_app.engines.running.answer import answer, failure, warm_up
from serve_app.engines.vllm.engine import VllmEngine
from serve_app.engines.wire.answer import Reading
from serve_app.engines.wire.dialect import Dialect
from serve_app.errors import EngineError, ServerError, choices

if TYPE_CHECKING:
    import httpx

Ask: TypeAlias = Callable[[Prompt], Awaitable[Answer]]
"""A model: prompt -> answer or failure."""

GRACE_S = 30.0
"""What a server has beyond a prompt's own time-out, to say that it timed out."""


class Source(Protocol):
    """Where a model can be asked; `open` holds it ready meanwhile."""

    def open(self, model: str) -> AbstractAsyncContextManager[Ask]: ...


class Engines:
    """Each model is loaded when it is opened, and freed after; an adapter with its base, which `models` has, too."""

    def __init__(self, models: Mapping[str, ModelConfig], weights: Mapping[str, Path]) -> None:
        self._models = models
        self._weights = weights

    @asynccontextmanager
    async def open(self, model: str) -> AsyncIterator[Ask]:
        """Raises `EngineError` where the model cannot be loaded."""
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


class Server:
    """A running server, which is asked for single models by their names.

    `url` is the server's, with or without `/v1`. Latencies are those that the server's own decision record says, so
    without network and queue; what other servers leave out is as with the engine `openai_api`. A model that fails is
    data; a server that cannot be reached, or that refuses the question, is a `ServerError`.
    """

    def __init__(self, url: str, concurrency: int) -> None:
        self._base = url.rstrip("/").removesuffix("/v1")
        self._concurrency = concurrency

    @asynccontextmanager
    async def open(self, model: str) -> AsyncIterator[Ask]:
        """Raises `ServerError` where there is no server, or none with this model."""
        import httpx

        try:
            local = is_loopback(httpx.URL(self._base).host)
            limits = httpx.Limits(max_connections=self._concurrency)
            async with httpx.AsyncClient(trust_env=not local, limits=limits) as client:
                await self._check(client, model)
                yield lambda prompt: self._ask(client, model, prompt)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise ServerError(f"{self._base!r} is not the address of a server, like http://127.0.0.1:8000.") from None
        except httpx.HTTPError as error:
            said = str(error).rstrip(".") or type(error).__name__
            raise ServerError(f"The server at {self._base} cannot be reached any more: {said}.") from error

    async def _check(self, client: "httpx.AsyncClient", model: str) -> None:
        import httpx

        try:
            response = await client.get(f"{self._base}/v1/models")
        except httpx.UnsupportedProtocol:
            raise
        except httpx.TransportError as error:
            raise ServerError(f"No server answers at {self._base}.") from error
        body = _json(response)
        if not response.is_success or not isinstance(body.get("data"), list):
            raise ServerError(f"What answers at {self._base} is no OpenAI server: HTTP {response.status_code}.")
        known = [card.get("id", "") for card in body["data"]]
        if model not in known:
            raise ServerError(f"The server at {self._base} has no model {model!r}. {choices(model, known)}")

    async def _ask(self, client: "httpx.AsyncClient", model: str, prompt: Prompt) -> Answer:
        import httpx

        started = perf_counter()
        wait_s = None if prompt.timeout_s is None else prompt.timeout_s + GRACE_S
        try:
            response = await client.post(
                f"{self._base}/v1/chat/completions", json=_request(model, prompt), timeout=httpx.Timeout(wait_s)
            )
        except httpx.TimeoutException:
            message = f"The server did not answer within {wait_s} s."
            return Failure("timeout", message, latency_s=perf_counter() - started, estimated=True)
        body, elapsed_s = _json(response), perf_counter() - started
        if response.is_success and body.get("choices"):
            return self._read(model, prompt, body, started)
        return self._failure(model, response, body, elapsed_s)

    def _read(self, model: str, prompt: Prompt, body: dict[str, Any], started: float) -> Answer:
        import httpx

        elapsed_s, call, meter = perf_counter() - started, _call(model, body), Meter()
        if not _has_logprobs(body):
            prompt = replace(prompt, sampling=replace(prompt.sampling, logprobs=False))
        try:
            reading = Reading(Dialect(model, httpx.URL(self._base).netloc.decode()), prompt, meter)
            reading.read(body)
            read = reading.generation()
        except EngineError as error:
            return failure(error, prompt, meter, started)
        if call is None:
            return replace(read, latency_s=elapsed_s, first_token_s=None)
        estimated = call.estimated or read.estimated
        return replace(read, latency_s=call.latency_s, first_token_s=call.first_token_s, estimated=estimated)

    def _failure(self, model: str, response: "httpx.Response", body: dict[str, Any], elapsed_s: float) -> Failure:
        error = body.get("error")
        error = error if isinstance(error, dict) else {}
        message = str(error.get("message") or f"HTTP {response.status_code} without an error body.")
        call = _call(model, body)
        kind: FailureKind
        if error.get("code") == "context_length_exceeded":
            kind = "context_length"
        elif response.is_server_error:
            kind = cast("FailureKind", error["code"]) if error.get("code") in get_args(FailureKind) else "error"
        else:
            raise ServerError(f"The server at {self._base} refused to ask {model!r}: {message}")
        return Failure(
            kind,
            message,
            call.prompt_tokens if call else 0,
            call.completion_tokens if call else 0,
            call.latency_s if call else elapsed_s,
            estimated=call is None or call.estimated,
        )


def _request(model: str, prompt: Prompt) -> dict[str, Any]:
    sampling = prompt.sampling
    return {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in prompt.messages],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "logprobs": sampling.logprobs,
    }


def _has_logprobs(body: dict[str, Any]) -> bool:
    """Whether every token of the answer has one. Some servers send null, of which no confidence can be made."""
    try:
        choice = body["choices"][0]
        content = choice["logprobs"]["content"]
        known = all(isinstance(item["token"], str) and isinstance(item["logprob"], int | float) for item in content)
        return known and bool(content or not choice["message"]["content"])
    except (LookupError, TypeError):
        return False


def _call(model: str, body: dict[str, Any]) -> CallRecord | None:
    """Return what the decision record says of the model, None if the server is not ours."""
    return from_json(body.get("cascade")).models.get(model)


def _json(response: "httpx.Response") -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {}


async def ask_all(
    ask: Ask, prompts: Iterable[tuple[str, Prompt]], concurrency: int, take: Callable[[str, Answer], None]
) -> None:
    """Ask every (id, prompt), up to `concurrency` at once; `take` gets each answer as it comes.

    Nothing is awaited between an answer and `take`, so cancelling loses only what was not answered yet.
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
