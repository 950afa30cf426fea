"""An OpenAI server that knows no decision records."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

MODELS = ["\ud83d", {"id": None}, {"id": "\ud83d"}, {"id": "a"}, {"id": "b"}, {"id": "t"}]


@asynccontextmanager
async def openai_server(
    body: dict[str, Any] | bytes, status: int = 200, refusals: list[dict[str, str]] | None = None
) -> AsyncIterator[str]:
    """Serve a, b and t, which give one answer to everything; the list of models has faults, too.

    For as long as there are `refusals`, each request takes one: a 429 with its headers.
    """
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": MODELS})

    async def chat(_: web.Request) -> web.Response:
        if refusals:
            return web.json_response({"error": {"message": "Full."}}, status=429, headers=refusals.pop(0))
        return web.Response(body=content, status=status, content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", chat)])
    async with TestServer(app) as server:
        yield str(server.make_url("/"))
