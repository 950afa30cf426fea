"""The router's own application over models that play scripts, on a real port, without Ray."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.config import AppConfig
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.prompt import Prompt, ToolCall
from serve_app.core.types.scores import Embedding
from serve_app.deployments.opening import asked_models as models_module
from serve_app.deployments.protecting.liveness import Health
from serve_app.deployments.router import Router
from tests.deployments.unasked import Handle

CODE = (
    "Here it is:\n\n```python\ndef add(a: int, b: int) -> int:\n"
    "    return a + b  # the sum\n```\n\nIt adds **two** numbers."
)
ATTACK = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    "<svg onload='window.hacked = 3'></svg><a href='javascript:window.hacked=4'>link</a>\n\n"
    "[click](javascript:window.hacked=5) [data](data:text/html,<script>window.hacked=6</script>) "
    "![pixel](http://evil.example/pixel.png)\n\n"
    "<iframe srcdoc='<script>parent.hacked=7</script>'></iframe><math><mtext></form><mglyph><style></math>"
    '<img src onerror="window.hacked=8">\n\n```html\n<script>window.hacked = 9</script>\n```\n\n'
    '<div style="position:fixed;inset:0">over</div> <base href="http://evil.example/"> <form action="/x"><button>'
)
WEATHER = (ToolCall("call_1", "get_weather", '{"city": "Lisbon"}'),)
# What each model answers to a prompt with these words, in the order a, b, t.
SCRIPT: dict[str, tuple[Any, Any, Any]] = {
    "capital of France": ("The capital is Paris.", "The capital is Paris.", "It is Paris."),
    "minutes": ("The journey takes **205** minutes.", "It takes 205.", "From 9:40 to 13:05 it is 205 minutes.\n\n205"),
    "Python": (CODE, CODE, CODE),
    "weather": (WEATHER, WEATHER, WEATHER),
    "attack": (ATTACK, ATTACK, ATTACK),
    "target down": ("one", "two", Failure("unavailable", "No replica of the target runs.")),
    "story": ("alpha " * 60, "beta " * 60 + CODE, "gamma " * 200 + CODE + "\n\n- a\n- b"),
    "long": ("one", "two", "word " * 400),
}


@dataclass
class Player:
    """A model that answers by the words of its prompt, word by word, `pause_s` seconds apart.

    While `paused`, it writes one word and no more.
    """

    name: str
    index: int
    pause_s: float = 0.0
    paused: bool = False
    prompts: list[Prompt] = field(default_factory=list)

    def _answer(self, prompt: Prompt) -> Answer:
        self.prompts.append(prompt)
        question = prompt.messages[-1].content
        text = next((row[self.index] for words, row in SCRIPT.items() if words in question), f"You said: {question}")
        if isinstance(text, Failure):
            return text
        if isinstance(text, tuple):
            return Generation("", "tool_calls", 20, 9, latency_s=0.2, first_token_s=0.1, tool_calls=text)
        thoughts = "First I think." if self.index == 2 else ""
        tokens = len(text.split())
        return Generation(
            text, "stop", 20, tokens, latency_s=0.1 * (1 + self.index), first_token_s=0.05, reasoning=thoughts
        )

    async def generate(self, prompt: Prompt) -> Answer:
        return self._answer(prompt)

    async def embed_prompt(self, *_: object) -> list[Embedding]:
        raise NotImplementedError("no cascade of the page's tests skips its members")

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        answer = self._answer(prompt)
        if isinstance(answer, Generation) and answer.text:
            if answer.reasoning:
                yield Delta("", 20, 1, reasoning=answer.reasoning)
            for number, word in enumerate(answer.text.split(" ")):
                yield Delta(word if number == 0 else f" {word}", 20, number + 1)
                await asyncio.sleep(self.pause_s)
                while self.paused:  # noqa: ASYNC110 - set from another thread
                    await asyncio.sleep(0.01)
        yield answer


class Troubled:
    """Breaks the application on demand: `trouble` is a status to answer POSTs with, `cut` to break off, or None."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.trouble: int | str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trouble = self.trouble if scope["type"] == "http" and scope["path"].startswith("/v1/chat") else None
        if trouble is None:
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"7")]
        await send({"type": "http.response.start", "status": 200 if trouble == "cut" else trouble, "headers": headers})
        error = {"error": {"message": f"Trouble {trouble}.", "type": "x", "param": None, "code": None}}
        body = b": waiting\n\n" if trouble == "cut" else json.dumps(error).encode()
        await send({"type": "http.response.body", "body": body, "more_body": False})


@dataclass
class Served:
    """A running server, and what it plays."""

    url: str
    players: dict[str, Player]
    troubled: Troubled
    router: Router


def configured(**router: Any) -> AppConfig:
    model = {"engine": "replay", "default": "x"}
    return AppConfig.model_validate(
        {
            "models": {
                "small-a": model | {"parameters": 5e8},
                "small-b": model | {"parameters": 1.5e8},
                "large-t": model | {"parameters": 7e9},
            },
            "cascades": {
                "default": {
                    "tiers": [
                        {"models": ["small-a", "small-b"], "signal": "rougeL", "threshold": 0.7},
                        {"models": ["large-t"]},
                    ]
                },
            },
            "router": router,
        }
    )


def built(config: AppConfig, pause_s: float = 0.0) -> tuple[Router, dict[str, Player]]:
    """Return a router whose models are players in this process; longer answers are compared here, too."""
    players = {name: Player(name, index, pause_s) for index, name in enumerate(config.models)}
    config = config.model_copy(update={"scorer": config.scorer.model_copy(update={"inline_characters": 100_000})})
    scorer: Any = Handle()
    everything_runs = {name: Health(1, "HEALTHY") for name in config.deployments()}
    with patch.object(models_module, "ModelHandle", lambda name, handle, liveness, adapter=None, retries=None: handle):
        router = Router(config, players, scorer, {})  # type: ignore[arg-type]
    router.parts.readiness._look = lambda: everything_runs
    return router, players


class _Quiet(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def listening(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """Yield the address of a server in a thread of its own."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = _Quiet(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


@contextmanager
def serving(pause_s: float = 0.0, port: int = 0, **router_config: Any) -> Iterator[Served]:
    """Yield a router's server in a thread of its own."""
    router, players = built(configured(**router_config), pause_s)
    app: FastAPI = router.__serve_build_asgi_app__()
    troubled = Troubled(app)
    with listening(troubled, port) as url:
        yield Served(url, players, troubled, router)


if __name__ == "__main__":  # to look at the page by hand
    with serving(pause_s=0.06, port=8123) as served:
        print(served.url)
        threading.Event().wait()
