"""Whatever the body is, the answer is one of OpenAI's."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.api.chat.schema import ChatCompletion, TextCompletion
from serve_app.api.chat.tolerated import NEUTRAL
from serve_app.api.routes import build_api
from tests.api.chat.requests import BASE, CHAT, JSON_TYPE, PATHS, error_of
from tests.api.serving import FakeService


@pytest.mark.parametrize(
    ("content", "headers", "sentence"),
    [
        (b"{", JSON_TYPE, "The request body is not valid JSON: "),
        (b"", JSON_TYPE, "The request has no body."),
        (b"", {}, "The request has no body."),
        (b"[]", JSON_TYPE, "The request body: must be a JSON object, sent with the content type application/json."),
        (b"null", JSON_TYPE, "The request body: must be a JSON object, sent with the content type application/json."),
        (b'{"model": "default"}', {"content-type": "application/x-www-form-urlencoded"}, "The request body: must be a"),
        (b'{"model": "default"}', {}, "The request body: must be a JSON object, sent with the content type"),
        (b'"\xff"', JSON_TYPE, "The request body is not valid UTF-8 at byte 1."),
        (b"[" * 100_000, JSON_TYPE, "The request body is nested deeper than 128 levels."),
        (
            b'{"\\ud800": 1, "model": "default", "prompt": "", "messages": [{"role": "user", "content": "Hi"}]}',
            JSON_TYPE,
            "",
        ),
        (b'{"model": "\\ud800", "messages": []}', JSON_TYPE, "model: must be a valid string"),
    ],
)
async def test_bad_bodies(http: httpx.AsyncClient, content, headers, sentence):
    response = await http.post(CHAT, content=content, headers=headers)
    assert response.status_code == 400
    assert error_of(response)["message"].startswith(sentence)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    sorted({*ChatCompletion.model_fields, *TextCompletion.model_fields, *NEUTRAL, "list[", "\ud800"})
)
BODIES = st.dictionaries(FIELDS, JSON, max_size=3) | JSON


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=BODIES, based=st.booleans())
def test_any_json_gets_an_answer_or_an_openai_error(path: str, body: Any, based: bool):
    async def ask() -> None:
        transport = httpx.ASGITransport(build_api(service), raise_app_exceptions=True)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://cascade", trust_env=False, verify=False
        ) as http:
            response = await http.post(path, content=json.dumps(whole), headers=JSON_TYPE)
        if response.status_code != 200:
            assert response.status_code in (400, 404)
            assert error_of(response)["message"]

    service = FakeService()
    whole = BASE[path] | body if based and isinstance(body, dict) else body
    asyncio.run(ask())
    assert len(service.runs) == len(service.closings)
