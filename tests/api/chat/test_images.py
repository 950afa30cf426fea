"""Images in messages: as data, or as URLs that nobody here fetches."""

import base64
from typing import Any

import httpx
import pytest

from serve_app.api.fields.image_url import FORM
from serve_app.core.types.prompt import Image, Message
from tests.api.serving import FakeService

PNG = "data:image/png;base64," + base64.b64encode(bytes(range(256))).decode()


def body(*parts: Any, **message: Any) -> dict[str, Any]:
    return {"model": "t", "messages": [{"role": "user", "content": list(parts)} | message]}


def image(url: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **fields}}


TEXT = {"type": "text", "text": "What is this?"}


@pytest.mark.parametrize(
    "url", [PNG, "data:image/svg+xml;base64,AAAA", "https://example.com/a.png?x=1", "http://[::1]:8080/a"]
)
@pytest.mark.parametrize("detail", [None, "auto", "low", "high"])
async def test_images_reach_the_model_in_their_place(
    http: httpx.AsyncClient, service: FakeService, url: str, detail: str | None
) -> None:
    sent = body(TEXT, image(url, detail=detail) | {"cache_control": {"type": "ephemeral"}}, TEXT)
    assert (await http.post("/v1/chat/completions", json=sent)).status_code == 200
    text = "What is this?"
    [prompt] = service.models["t"].prompts
    assert prompt.messages == (Message("user", text * 2, parts=(text, Image(url, detail), text)),)


async def test_a_message_may_be_an_image_alone(http: httpx.AsyncClient, service: FakeService) -> None:
    assert (await http.post("/v1/chat/completions", json=body(image(PNG)))).status_code == 200
    assert service.models["t"].prompts[0].messages == (Message("user", "", parts=(Image(PNG),)),)


async def test_text_parts_alone_are_a_text(http: httpx.AsyncClient, service: FakeService) -> None:
    assert (await http.post("/v1/chat/completions", json=body(TEXT, TEXT))).status_code == 200
    assert service.models["t"].prompts[0].messages == (Message("user", "What is this?" * 2),)


async def test_a_speaker_comes_before_the_parts(http: httpx.AsyncClient, service: FakeService) -> None:
    service.names = "prefix"
    assert (await http.post("/v1/chat/completions", json=body(image(PNG), TEXT, name="Ann"))).status_code == 200
    [message] = service.models["t"].prompts[0].messages
    assert (message.content, message.parts) == ("Ann: What is this?", ("Ann: ", Image(PNG), "What is this?"))


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        *(
            (body(image(url)), f"messages[0].content[0].image_url.url: {FORM}")
            for url in [
                "",
                "photo.png",
                "file:///etc/passwd",
                "ftp://example.com/a.png",
                "data:image/png;base64,",
                "data:image/png;base64,A",
                "data:image/png;base64,AA*=",
                "data:image/png;base64,é",
                "data:image/png,AAAA",
                "data:text/html;base64,AAAA",
                "http://",
                "http://[",
                "http://a b/",
            ]
        ),
        (body(image(5)), "messages[0].content[0].image_url.url: must be a valid string, got 5."),
        (body(image(PNG, detail="max")), "messages[0].content[0].image_url.detail: must be 'auto', 'low' or 'high'"),
        (body({"type": "image_url"}), "messages[0].content[0].image_url: required, but missing."),
        (body({"type": "text"}), "messages[0].content[0].text: required, but missing."),
        (body({"type": "image_url", "image_url": PNG}), "messages[0].content[0].image_url: must be a JSON object."),
        (body(TEXT | {"image_url": {"url": PNG}}), 'messages[0].content[0].image_url: only with type "image_url".'),
        (body(image(PNG) | {"text": "x"}), 'messages[0].content[0].text: only with type "text"'),
        (body(image(PNG), role="system"), 'messages[0].content: images only with role "user".'),
        (body(image(PNG), role="assistant"), 'messages[0].content: images only with role "user".'),
    ],
)
async def test_other_images_are_refused(
    http: httpx.AsyncClient, service: FakeService, sent: dict[str, Any], sentence: str
) -> None:
    response = await http.post("/v1/chat/completions", json=sent)
    message = response.json()["error"]["message"]
    assert (response.status_code, message[: len(sentence)]) == (400, sentence)
    assert len(message) < 300
    assert not service.runs


async def test_a_large_image_is_an_image(http: httpx.AsyncClient) -> None:
    large = "data:image/png;base64," + base64.b64encode(bytes(2_000_000)).decode()
    assert (await http.post("/v1/chat/completions", json=body(image(large)))).status_code == 200
    assert (await http.post("/v1/chat/completions", json=body(image(large), image(large)))).status_code == 413
