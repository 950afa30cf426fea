"""`/v1/embeddings`, by the official client over a fake encoder."""

import asyncio
import json
import typing
from typing import Any

import httpx
import openai
import pytest
from openai.types import embedding_create_params

from serve_app.api.embeddings.schema import EmbeddingRequest
from serve_app.errors import SignalError

from .serving import HANG, FakeService, until

PATH = "/v1/embeddings"

INPUT = "must be one string or up to 256, none of them empty; token lists are not honoured"


def test_every_field_of_the_official_client_is_known_here() -> None:
    assert set(typing.get_type_hints(embedding_create_params.EmbeddingCreateParams)) == set(
        EmbeddingRequest.model_fields
    )


@pytest.mark.parametrize("form", [openai.NOT_GIVEN, "float", "base64"])
async def test_texts_are_embedded_in_order(client: openai.AsyncOpenAI, service: FakeService, form: Any) -> None:
    texts = ["a", "two words", "你好"]
    answer = await client.embeddings.create(model="encoder", input=texts, encoding_format=form)
    vectors = [item.embedding for item in answer.data]
    if form == "base64":
        assert vectors == ["AACAPwAAgD8=", "AAAQQQAAgD8=", "AAAAQAAAgD8="]
    else:
        assert vectors == [[1.0, 1.0], [9.0, 1.0], [2.0, 1.0]]
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert (answer.model, answer.object, answer.data[0].object) == ("encoder", "list", "embedding")
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (4, 4)
    assert service.embedded == [texts]


async def test_one_text_needs_no_list(client: openai.AsyncOpenAI, service: FakeService) -> None:
    answer = await client.embeddings.create(model="encoder", input="a", dimensions=2, user="someone")
    assert len(answer.data) == 1
    assert service.embedded == [["a"]]


async def test_up_to_256_texts(client: openai.AsyncOpenAI) -> None:
    assert len((await client.embeddings.create(model="encoder", input=["x"] * 256)).data) == 256


async def test_encoders_are_listed_with_their_kind(client: openai.AsyncOpenAI) -> None:
    kinds = {model.id: model.kind async for model in client.models.list()}
    assert kinds["encoder"] == "embedding"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        *(({"input": value}, f"input: {INPUT}") for value in ([], "", ["a", ""], [1, 2], [[1]], ["x"] * 257, {}, 5)),
        ({"input": None}, "input: required, but missing."),
        ({"model": None}, "model: required, but missing."),
        ({"dimensions": 3}, "dimensions: must be 2, got 3."),
        ({"dimensions": "2"}, 'dimensions: must be a valid integer, got "2".'),
        ({"encoding_format": "int8"}, "encoding_format: must be 'float' or 'base64', got \"int8\"."),
        ({"input_type": "query"}, "input_type: this field is not supported."),
    ],
)
async def test_other_values_are_refused(http: httpx.AsyncClient, fields: dict[str, Any], sentence: str) -> None:
    response = await http.post(PATH, json={"model": "encoder", "input": "a"} | fields)
    error = response.json()["error"]
    assert (response.status_code, error["message"][: len(sentence)]) == (400, sentence)
    assert error["param"] == sentence.split(":")[0]


async def test_half_a_surrogate_pair_is_no_text(http: httpx.AsyncClient) -> None:
    body = json.dumps({"model": "encoder", "input": ["a", "\ud800"]})
    response = await http.post(PATH, content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "input[1]")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("encodr", "There is no encoder 'encodr'. Did you mean 'encoder'? Available: encoder."),
        ("default", "There is no encoder 'default'. Available: encoder."),
    ],
)
async def test_what_is_no_encoder_is_a_404(
    http: httpx.AsyncClient, service: FakeService, model: str, sentence: str
) -> None:
    response = await http.post(PATH, json={"model": model, "input": "a"})
    error = response.json()["error"]
    assert (response.status_code, error["message"], error["code"]) == (404, sentence, "model_not_found")
    assert service.embedded == []


async def test_a_config_without_encoders_says_so(
    http: httpx.AsyncClient, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "cards", list)
    response = await http.post(PATH, json={"model": "sbert", "input": "a"})
    sentence = "There is no encoder 'sbert'. No sbert signal of the config may be asked for."
    assert (response.status_code, response.json()["error"]["message"]) == (404, sentence)


async def test_a_failure_is_a_503(http: httpx.AsyncClient, service: FakeService) -> None:
    service.embedding_fails = SignalError("The scorer failed.")
    response = await http.post(PATH, json={"model": "encoder", "input": "a"})
    assert (response.status_code, response.json()["error"]["message"]) == (503, "The scorer failed.")
    assert response.headers["retry-after"] == "5"


async def test_a_client_that_leaves_stops_the_work(client: openai.AsyncOpenAI, service: FakeService) -> None:
    service.embedding_s = HANG
    request = asyncio.create_task(client.embeddings.create(model="encoder", input="a"))
    await until(lambda: bool(service.embedded))
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await until(lambda: service.embedding_stopped == 1)
