"""An OpenAI-compatible endpoint that can be told to break: a test double of models behind the `openai_api` engine."""

import asyncio
import json
from typing import Literal, TypeAlias

from aiohttp import web

Mode: TypeAlias = Literal["fine", "hangs", "garbage", "nothing", "dies", "errors"]
MODES: tuple[Mode, ...] = ("hangs", "garbage", "nothing", "dies", "errors")
SAME, OTHER, TARGET = "The answer is one of many.", "Something else altogether, I think.", "From the target it is one."
FIRST_TOKEN_S, TOKEN_S = 0.1, 0.01
GARBAGE = b'data: {"choices": [{"delta": {"content": \x00\xff\xfe not JSON }}}\n\ndata: 7\n\n'


class Backend:
    """Answers for several models; `modes` says how each behaves now, `active` how many requests it has."""

    def __init__(self) -> None:
        self.modes: dict[str, Mode] = {}
        self.active = 0

    async def start(self) -> tuple[web.AppRunner, int]:
        """Listen on a free port of this machine, and return the port."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port: int = runner.addresses[0][1]
        return runner, port

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.active += 1
        try:
            return await self._answer(request, body)
        finally:
            self.active -= 1

    async def _answer(self, request: web.Request, body: dict[str, object]) -> web.StreamResponse:
        model = str(body["model"])
        mode = self.modes.get(model, "fine")
        if mode == "hangs":
            await asyncio.sleep(3600)
        await asyncio.sleep(FIRST_TOKEN_S)
        if mode == "errors":
            return web.Response(status=500, text="<html>Internal Server Error</html>", content_type="text/html")
        text = "" if mode == "nothing" else answer_of(model, json.dumps(body["messages"]))
        if not body.get("stream"):
            whole = _body(message={"role": "assistant", "content": text}, finish_reason="stop")
            return web.Response(body=GARBAGE if mode == "garbage" else json.dumps(whole).encode())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, word in enumerate(text.split(" ") if text else []):
            if number == 2 and mode == "garbage":
                await response.write(GARBAGE)
                break
            if number == 2 and mode == "dies":
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(_event(_body(delta={"content": word if number == 0 else f" {word}"})))
            await asyncio.sleep(TOKEN_S)
        await response.write(_event(_body(delta={}, finish_reason="stop")) + b"data: [DONE]\n\n")
        await response.write_eof()
        return response


def answer_of(model: str, prompt: str) -> str:
    """Return what a model says: the member agrees with the other one on questions with an even number."""
    if model == "target":
        return TARGET
    digits = "".join(filter(str.isdigit, prompt))
    return SAME if digits and int(digits) % 2 == 0 else OTHER


def _body(**choice: object) -> dict[str, object]:
    choices = [{"index": 0, "finish_reason": None, **choice}]
    return {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "x", "choices": choices}


def _event(body: dict[str, object]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()
