"""Replies that an endpoint is scripted to give: answers, refusals, silence."""

import asyncio
from typing import Any

from aiohttp import web

from tests.engines.endpoint import Reply, send, sse

KEY = "sk-very-secret"


def events(*chunks: dict[str, Any], end_mark: bool = True) -> Reply:
    async def reply(request: web.Request) -> web.StreamResponse:
        response = await sse(request)
        for chunk in chunks:
            await send(response, chunk)
        if end_mark:
            await response.write(b"data: [DONE]\n\n")
        return response

    return reply


def text(content: str, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}]} | more


ANSWER = events(text("Paris", "stop", usage={"prompt_tokens": 9, "completion_tokens": 1}))


def refusal(status: int, error: Any = None, **headers: str) -> Reply:
    async def reply(_: web.Request) -> web.Response:
        return web.json_response({"error": error or {}}, status=status, headers=headers)

    return reply


def plain(body: bytes) -> Reply:
    async def reply(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    return reply


def scored(content: str, *entries: tuple[Any, ...], finish_reason: str = "stop") -> dict[str, Any]:
    """Return a whole answer with its tokens: text, log-probability, and bytes if they are sent."""
    names = ("token", "logprob", "bytes")
    chunk = text(content, finish_reason)
    chunk["choices"][0]["logprobs"] = {"content": [dict(zip(names, entry, strict=False)) for entry in entries]}
    return chunk


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def hangs_in_the_stream(request: web.Request) -> web.StreamResponse:
    response = await sse(request)
    for word in ("It", " is", " Par"):
        await send(response, text(word))
    return await hangs(request)


def raw_event(data: bytes) -> Reply:
    async def reply(request: web.Request) -> web.StreamResponse:
        response = await sse(request)
        await response.write(b"data: " + data + b"\n\n")
        return response

    return reply
