"""The first requests to a server that has just started."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest
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
    answer_by(monkeypatch, lambda _: httpx.Response(401))
    warm_up(file)
