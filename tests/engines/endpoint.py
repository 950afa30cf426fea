"""An OpenAI-compatible endpoint on a real port: it speaks for an engine, or plays whatever trouble a test scripts."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from serve_app.core.types.answer import Delta, Generation
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.engines import Engine, Meter
from serve_app.errors import ContextTooLongError

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Asked:
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass
class Endpoint:
    """A server for engines.

    `script` holds the next replies; once it is empty, the engine answers. `disconnects` counts clients that went away.
    """

    url: str = ""
    engine: Engine | None = None
    script: list[Reply] = field(default_factory=list)
    requests: list[Asked] = field(default_factory=list)
    disconnects: int = 0

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://").removesuffix("/v1")

    @property
    def last(self) -> dict[str, Any]:
        return self.requests[-1].body

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(Asked(request.path, dict(request.query), request.headers, body))
        try:
            return await (self.script.pop(0)(request) if self.script else self._answer(request, body))
        except (asyncio.CancelledError, ConnectionResetError):
            self.disconnects += 1
            raise

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        assert self.engine is not None, "no script, no engine"
        raw = "prompt" in body
        async with aclosing(self.engine.stream(_prompt(body), Meter())) as items:
            try:
                first = await anext(items)
            except ContextTooLongError as error:
                return web.json_response({"error": _vllm_error(error)}, status=400)
            if not body.get("stream"):
                *_, answer = [first, *[item async for item in items]]
                return web.json_response(_whole(answer, raw))
            stream = await sse(request)
            item: Delta | Generation | None = first
            while item is not None:
                await send(stream, _chunk(item, raw, body["stream_options"].get("continuous_usage_stats", False)))
                item = await anext(items, None)
        await stream.write(b"data: [DONE]\n\n")
        return stream


def _prompt(body: dict[str, Any]) -> Prompt:
    stop = tuple(body.get("stop") or ())
    values = [body.get(name) for name in ("max_tokens", "temperature", "top_p")]
    limit = body.get("max_reasoning_tokens")
    sampling = Sampling(*values, stop, body.get("seed"), bool(body.get("logprobs")), max_reasoning_tokens=limit)
    if "prompt" in body:
        return Prompt(text=body["prompt"], sampling=sampling)
    return Prompt(tuple(Message(m["role"], m["content"]) for m in body["messages"]), sampling=sampling)


def _vllm_error(error: ContextTooLongError) -> dict[str, Any]:
    message = (
        f"This model's maximum context length is {error.context_tokens} tokens. However, you requested 0 output tokens "
        f"and your prompt contains {error.prompt_tokens} input tokens, for a total of {error.prompt_tokens} tokens. "
        "Please reduce the length of the input prompt or the number of requested output tokens."
    )
    return {"message": message, "type": "BadRequestError", "param": "input_tokens", "code": 400}


def _chunk(item: Delta | Generation, raw: bool, count_on: bool) -> dict[str, Any]:
    text, thought = (item.text, item.reasoning) if isinstance(item, Delta) else ("", "")
    choice: dict[str, Any] = {"index": 0, "finish_reason": None, "logprobs": None}
    choice |= (
        {"text": text} if raw else {"delta": {"content": text} | ({"reasoning_content": thought} if thought else {})}
    )
    if isinstance(item, Generation):
        choice |= {"finish_reason": item.finish_reason, "logprobs": _logprobs(item, raw)}
    return {"choices": [choice], "usage": _usage(item) if count_on or isinstance(item, Generation) else None}


def _whole(answer: Delta | Generation, raw: bool) -> dict[str, Any]:
    assert isinstance(answer, Generation)
    choice: dict[str, Any] = {"index": 0, "finish_reason": answer.finish_reason, "logprobs": _logprobs(answer, raw)}
    message = {"role": "assistant", "content": answer.text, "reasoning_content": answer.reasoning}
    choice |= {"text": answer.text} if raw else {"message": message}
    return {"choices": [choice], "usage": _usage(answer)}


def _usage(item: Delta | Generation) -> dict[str, Any]:
    usage: dict[str, Any] = {"prompt_tokens": item.prompt_tokens, "completion_tokens": item.completion_tokens}
    if isinstance(item, Generation) and item.reasoning_tokens:
        usage["completion_tokens_details"] = {"reasoning_tokens": item.reasoning_tokens}
    return usage


def _logprobs(answer: Generation, raw: bool) -> dict[str, Any] | None:
    if answer.logprobs is None:
        return None
    if raw:
        tokens = [entry.token for entry in answer.logprobs]
        return {"tokens": tokens, "token_logprobs": [entry.logprob for entry in answer.logprobs]}
    return {"content": [{"token": entry.token, "logprob": entry.logprob} for entry in answer.logprobs]}


async def sse(request: web.Request) -> web.StreamResponse:
    """Begin a stream of events."""
    stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await stream.prepare(request)
    return stream


async def send(stream: web.StreamResponse, data: dict[str, Any]) -> None:
    await stream.write(f"data: {json.dumps(data)}\n\n".encode())


@asynccontextmanager
async def listening(engine: Engine | None = None) -> AsyncIterator[Endpoint]:
    """Serve the endpoint on a free port, in this event loop. Handlers of clients that leave are cancelled."""
    endpoint = Endpoint(engine=engine)
    app = web.Application()
    app.router.add_post("/{path:.*}", endpoint.handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield endpoint
    finally:
        await runner.cleanup()
