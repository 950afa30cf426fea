"""Any JSON as a body: an answer, or an error in OpenAI's shape that names what the client wrote."""

import asyncio
import json
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.api.responses.schema import ResponseRequest
from serve_app.api.responses.tolerated import NEUTRAL
from serve_app.api.routes import build_api
from tests.api.serving import FakeService

from .test_requests import BASE, PATH

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ITEMS: list[Any] = [
    {"role": "user", "content": "Hi"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]},
    {"type": "reasoning", "summary": []},
    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": '},
    {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "1"}]},
]
NAMES = st.sampled_from(["type", "role", "content", "call_id", "output", "arguments", "id", "<message>"])
ITEM = st.sampled_from(ITEMS) | st.builds(
    lambda item, changes: item | changes, st.sampled_from(ITEMS), st.dictionaries(NAMES, JSON, max_size=1)
)
FIELDS = st.sampled_from([*ResponseRequest.model_fields, *(name.split(".")[0] for name in NEUTRAL), "list[", "\ud800"])
BODIES = st.builds(
    lambda items, fields: {"model": "t", "input": items} | fields,
    st.lists(ITEM, max_size=5),
    st.dictionaries(FIELDS, JSON, max_size=1),
)
INSIDES = ("function-", "list[tagged", "union", "Item", "Format", "Traceback")
"""What only pydantic and Python say."""


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=BODIES | st.dictionaries(FIELDS, JSON, max_size=3).map(lambda fields: BASE | fields) | JSON)
def test_any_json_gets_an_answer_or_an_openai_error(body: Any):
    async def ask() -> None:
        transport = httpx.ASGITransport(build_api(service), raise_app_exceptions=True)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://cascade", trust_env=False, verify=False
        ) as http:
            response = await http.post(PATH, content=json.dumps(body), headers={"content-type": "application/json"})
        if response.status_code != 200 or response.headers["content-type"] == "application/json":
            content = response.json()
            assert response.status_code == 200 or response.status_code in (400, 404)
            assert response.status_code == 200 or content["error"]["message"]
            assert not any(word in str(content.get("error") or "") for word in INSIDES)

    service = FakeService()
    asyncio.run(ask())
    assert len(service.runs) == len(service.closings)
