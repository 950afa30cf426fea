"""Requests in Anthropic's words."""

import json
from typing import Any

import httpx

from serve_app.core.types.prompt import ToolCall

PATH = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
USER: dict[str, Any] = {"role": "user", "content": "Weather in Paris?"}
ASK: Any = {"model": "default", "max_tokens": 100, "messages": [USER]}
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CLOCK: dict[str, Any] = {"name": "get_time", "input_schema": {"type": "object"}}
PARIS = ToolCall("call_1", "get_weather", '{"city": "Paris"}')
ROME = ToolCall("call_2", "get_weather", '{"city": "Rome"}')


def used(*calls: dict[str, Any]) -> dict[str, Any]:
    """Return an assistant's message that calls tools; each call is `{"id": ...}` at least."""
    block = {"type": "tool_use", "name": "get_weather", "input": {"city": "Paris"}}
    return {"role": "assistant", "content": [block | call for call in calls]}


def returned(name: str, content: Any = "18 degrees", **fields: Any) -> dict[str, Any]:
    """Return a block with the result of a call."""
    return {"type": "tool_result", "tool_use_id": name, "content": content} | fields


def text(value: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": value} | fields


async def refused(http: httpx.AsyncClient, path: str = PATH, **fields: Any) -> str:
    """Return the message of the 400 for a request; its body has Anthropic's form and no internals of ours."""
    headers = {"content-type": "application/json"}
    response = await http.post(path, content=json.dumps(ASK | fields), headers=headers)  # halves of pairs, too
    assert response.status_code == 400, response.text
    body = response.json()
    assert set(body) == {"type", "error", "request_id"}
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert set(body["error"]) == {"type", "message"}
    message: str = body["error"]["message"]
    assert not any(word in message.lower() for word in ("traceback", "pydantic", "<", "tagged", "function-after"))
    return message
