"""The first requests to a server that has just started."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml

from serve_app.config.serve_file import ServeFile, load
from serve_app.deployments.local.warm_up import warm_up
from serve_app.errors import ServerError
from tests.deployments.local.application import ARGS


@pytest.fixture
def file(tmp_path: Path) -> ServeFile:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"applications": [{"import_path": "serve_app.app:build_app", "args": ARGS}]}))
    return load(path)


def answer_by(monkeypatch: pytest.MonkeyPatch, handler: Callable[[httpx.Request], httpx.Response]) -> None:
    monkeypatch.setattr(httpx, "Client", partial(httpx.Client, transport=httpx.MockTransport(handler)))


def test_every_tier_of_a_cascade_is_warmed_up(file: ServeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200)

    answer_by(monkeypatch, handler)
    warm_up(file)
    assert [(body["model"], body["cascade"]) for body in bodies] == [("default", {"force": "defer"})]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (httpx.Response(502, json={"error": {"message": "The model 't' failed: no."}}), "The model 't' failed: no."),
        (httpx.Response(500, text="Internal Server Error\nat line 3"), "Internal Server Error"),
        (httpx.Response(503, json={"detail": "away"}), '{"detail":"away"}'),
        (httpx.Response(500, json="away"), '"away"'),
        (httpx.Response(500), "no reason was given"),
    ],
)
def test_a_failure_is_told_in_the_words_of_what_answered(
    response: httpx.Response, reason: str, file: ServeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_by(monkeypatch, lambda _: response)
    with pytest.raises(ServerError) as caught:
        warm_up(file)
    assert str(caught.value) == f"The cascade 'default' does not answer: {reason}"


def test_a_refused_request_is_no_failure(file: ServeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one without a key."""
    requests = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(401)

    answer_by(monkeypatch, handler)
    warm_up(file)
    assert len(requests) == 1


CERTIFICATE = str(Path(__file__).with_name("another_name.pem"))
"""A key and its certificate for cascade.example, signed by itself."""


@pytest.fixture
def encrypted() -> Iterator[int]:
    """Yield the port of a server that speaks TLS alone."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b""})

    options = uvicorn.Config(application, log_config=None, lifespan="off", ssl_certfile=CERTIFICATE)
    server = uvicorn.Server(options)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # here, so that no client comes before the thread has done it
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def test_a_certificate_for_the_name_that_clients_use_is_good_enough(tmp_path: Path, encrypted: int) -> None:
    path = tmp_path / "config.yaml"
    options = {"host": "127.0.0.1", "port": encrypted, "ssl_certfile": CERTIFICATE, "ssl_keyfile": CERTIFICATE}
    applications = [{"import_path": "serve_app.app:build_app", "args": ARGS}]
    path.write_text(yaml.safe_dump({"http_options": options, "applications": applications}))
    warm_up(load(path))
