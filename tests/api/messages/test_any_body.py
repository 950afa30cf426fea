"""Whatever a body holds, it is answered, or refused by a field's name in this API's form."""

import asyncio
import copy
import json
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.api.routes import build_api
from tests.api.serving import FakeService

from .asking import ASK, COUNT, PATH, USER, WEATHER, returned, text, used

WHOLE: dict[str, Any] = ASK | {
    "system": [text("Be brief.")],
    "messages": [USER, used({"id": "1"}), {"role": "user", "content": [returned("1", [text("18")]), text("And?")]}],
    "tools": [WEATHER],
    "tool_choice": {"type": "tool", "name": "get_weather"},
    "thinking": {"type": "adaptive"},
    "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
    "metadata": {"user_id": "u"},
    "stop_sequences": ["."],
    "cascade": {"threshold": 0.5},
}
WORDS = (
    "text",
    "tool_use",
    "thinking",
    "image",
    "auto",
    "enabled",
    "custom",
    "system",
    "assistant",
    "",
    "<text>",
    "\ud83d",
)
SCALARS = st.none() | st.booleans() | st.integers(-2, 2**64) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
NAMES = st.sampled_from(["type", "role", "content", "text", "<text>", "input", "str", "list[x]", "body", ""])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


@st.composite
def bodies(draw: st.DrawFn) -> Any:
    """Draw a whole request of which one to three parts are replaced, removed or added."""
    body = copy.deepcopy(WHOLE)
    for _ in range(draw(st.integers(1, 3))):
        part: Any = body
        while True:
            keys = list(part) if isinstance(part, dict) else list(range(len(part)))
            key = draw(st.sampled_from([*keys, "new"]) if isinstance(part, dict) or not keys else st.sampled_from(keys))
            deeper = part[key] if key in keys else None
            if not (isinstance(deeper, dict | list) and deeper and draw(st.booleans())):
                break
            part = deeper
        if isinstance(part, list):
            part[key if isinstance(key, int) else 0 :] = [draw(VALUES)]
        elif key in part and draw(st.booleans()):
            del part[key]
        else:
            part[key] = draw(VALUES)
    return body


@given(bodies(), st.sampled_from([PATH, COUNT]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_body_is_answered_or_refused_by_a_name(body: Any, path: str) -> None:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(build_api(FakeService()), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://cascade") as http:
            return await http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})

    response = asyncio.run(ask())
    assert response.status_code in (200, 400, 404), response.text
    if response.status_code != 200:
        error = response.json()["error"]
        assert error["type"] in ("invalid_request_error", "not_found_error")
        assert not any(word in error["message"].lower() for word in ("pydantic", "tagged", "function-after", "<lambda"))
