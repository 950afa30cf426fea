"""What clients may send to `/v1/responses`: honoured, accepted, or refused by name."""

import json
import typing
from typing import Any

import httpx
import pytest
from openai.types.responses import response_create_params, response_includable

from serve_app.api.responses.schema import ResponseRequest
from serve_app.api.responses.tolerated import IGNORED, NEUTRAL, Includable
from serve_app.core.types.prompt import Message, Prompt, Sampling
from tests.api.serving import FakeService

PATH = "/v1/responses"
BASE: dict[str, Any] = {"model": "default", "input": "Hi"}
CLIENT_FIELDS = set(typing.get_type_hints(response_create_params.ResponseCreateParamsStreaming))
REFUSED: dict[str, Any] = {
    "access_programs": {"cyber": "standard"},
    "background": True,
    "background_options": {},
    "context_management": [{"type": "compaction"}],
    "conversation": "conv_1",
    "image": {"context_compression": "enabled"},
    "max_tool_calls": 3,
    "moderation": {},
    "prompt": {"id": "pmpt_1"},
    "service_tier": "flex",
    "truncation": "auto",
}
"""A value that asks for something, for every field of the client's that we do not honour."""


async def refused(http: httpx.AsyncClient, **fields: Any) -> tuple[str, str | None]:
    # httpx's own `json=` refuses halves of surrogate pairs.
    body = json.dumps(BASE | fields)
    response = await http.post(PATH, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    return error["message"], error["param"]


def inside(name: str, value: Any) -> dict[str, Any]:
    """Return the field `a.b` as `{"a": {"b": value}}`."""
    for step in reversed(name.split(".")):
        value = {step: value}
    assert isinstance(value, dict)
    return value


def test_every_field_of_the_official_client_is_known_here():
    """Fails where a new version of the client brings a field: decide what to do with it."""
    accounted = set(ResponseRequest.model_fields) | set(IGNORED["the request"]) | set(REFUSED)
    assert accounted == CLIENT_FIELDS | {"cascade", "max_reasoning_tokens", "client_metadata"}  # ours, and Codex's
    assert set(typing.get_args(Includable)) == set(typing.get_args(response_includable.ResponseIncludable))


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_honoured_is_refused_by_name(http: httpx.AsyncClient, service: FakeService, name: str):
    message, param = await refused(http, **{name: REFUSED[name]})
    assert param == name
    assert message.startswith(f"{name}: ")
    assert not service.runs


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in NEUTRAL.items() for value in values])
async def test_neutral_values_ask_for_nothing(http: httpx.AsyncClient, service: FakeService, name: str, value: Any):
    for fields in (inside(name, value), {}):
        assert (await http.post(PATH, json=BASE | fields)).status_code == 200
    neutral, bare = service.models["a"].prompts
    assert neutral == bare


async def test_null_asks_for_nothing(http: httpx.AsyncClient):
    response = await http.post(PATH, json=dict.fromkeys(CLIENT_FIELDS) | BASE)
    assert response.status_code == 200, response.text


async def test_every_field_reaches_the_models(http: httpx.AsyncClient, service: FakeService):
    parts = [{"type": "input_text", "text": "Capital of "}, {"type": "input_text", "text": "France?"}]
    items = [{"role": "developer", "content": "In English."}, {"type": "message", "role": "user", "content": parts}]
    fields = {
        "instructions": "Be brief.",
        "max_output_tokens": 7,
        "temperature": 0.5,
        "top_p": 0,
        "top_logprobs": 2,
        "reasoning": {"effort": "low", "summary": None},
        "max_reasoning_tokens": 5,
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "user": "someone",
        "metadata": {"team": "a"},
    }
    response = await http.post(PATH, json=BASE | {"input": items} | fields)
    assert response.status_code == 200, response.text
    messages = (Message("system", "Be brief."), Message("system", "In English."), Message("user", "Capital of France?"))
    assert service.models["a"].prompts == [
        Prompt(
            messages,
            sampling=Sampling(
                7, 0.5, 1e-6, logprobs=True, top_logprobs=2, reasoning_effort="low", max_reasoning_tokens=5
            ),
        ),
    ]
    echoed = {name: value for name, value in fields.items() if name not in ("include", "max_reasoning_tokens")}
    assert response.json().items() >= echoed.items()


FUNCTION = {"type": "function", "name": "f"}
SCHEMA = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "ok"}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"input": None}, "input: required, but missing."),
    ({"input": 5}, "input: must be a valid string or a valid list, got 5."),
    ({"input": []}, "input: must have at least 1 item."),
    ({"input": ["Hi"]}, "input[0]: must be a JSON object."),
    ({"input": "\ud800"}, 'input: has half of a surrogate pair, which is not a character, got "\\ud800".'),
    ({"input": [{"role": "user"}]}, "input[0].content: required, but missing."),
    ({"input": [{"content": "Hi"}]}, "input[0].role: required, but missing."),
    (
        {"input": [{"role": "tool", "content": "Hi"}]},
        "input[0].role: must be 'user', 'assistant', 'system' or 'developer', got \"tool\".",
    ),
    (
        {"input": [{"role": "user", "content": "Hi"}, {"type": "item_reference", "id": "msg_1"}]},
        "input[1].type: must be 'message' or 'function_call' or 'function_call_output' or 'reasoning', "
        'got "item_reference".',
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]},
        "input[0].content[0].type: must be 'input_text' or 'output_text', got \"input_image\".",
    ),
    ({"input": [{"role": "user", "content": "Hi", "nmae": 1}]}, "input[0].nmae: this field is not supported."),
    ({"instructoins": "x"}, "instructoins: this field is not supported. Did you mean 'instructions'?"),
    ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id: required, but missing."),
    ({"input": [{"type": "function_call_output", "call_id": "1"}]}, "input[0].output: required, but missing."),
    ({"input": [RESULT]}, "input[0].call_id: no function_call before has the call_id 'c1'."),
    ({"input": [{"type": "reasoning", "summary": []}]}, "input: needs an item that is not reasoning."),
    ({"input": [{"role": "user", "content": "Hi"}] * 2049}, "input: must have at most 2048 items, got 2049."),
    ({"max_output_tokens": 0}, "max_output_tokens: must be greater than or equal to 1, got 0."),
    ({"temperature": 3}, "temperature: must be less than or equal to 2, got 3."),
    ({"stop": ["x"]}, "stop: this field is not supported."),
    ({"messages": []}, "messages: this field is not supported."),
    ({"truncation": "auto"}, 'truncation: not supported, except "disabled".'),
    ({"text": {"verbosity": "low"}}, 'text.verbosity: not supported, except "medium".'),
    (
        {"reasoning": {"effort": "much"}},
        "reasoning.effort: must be 'none', 'minimal', 'low', 'medium', 'high' or 'xhigh', got \"much\".",
    ),
    ({"text": {"format": {}}}, "text.format.type: required, but missing."),
    (
        {"text": {"format": {"type": "grammar"}}},
        "text.format.type: must be 'text' or 'json_object' or 'json_schema', got \"grammar\".",
    ),
    ({"text": {"format": {"type": "json_schema"}}}, "text.format.name: required, but missing."),
    ({"text": {"format": SCHEMA | {"schema": None}}}, "text.format.schema: required, but missing."),
    ({"text": {"format": SCHEMA | {"schema": []}}}, "text.format.schema: must be a JSON object."),
    ({"text": {"format": SCHEMA | {"type": "text"}}}, "text.format.name: this field is not supported."),
    ({"response_format": SCHEMA}, "response_format: this field is not supported."),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type: must be 'function', got \"web_search\"."),
    ({"tools": [{"type": "custom", "name": "f"}]}, "tools[0].type: must be 'function', got \"custom\"."),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name: required, but missing."),
    ({"tools": [FUNCTION | {"async": True}]}, "tools[0].async: this field is not supported."),
    ({"tools": [FUNCTION, FUNCTION]}, "tools: two functions have the same name."),
    ({"tool_choice": "required"}, "tool_choice: needs tools."),
    ({"tools": [FUNCTION], "tool_choice": FUNCTION | {"name": "g"}}, "tool_choice: no tool 'g'. Available: f."),
    (
        {"tools": [FUNCTION], "tool_choice": {"type": "web_search"}},
        "tool_choice.type: must be 'function', got \"web_search\".",
    ),
    ({"stream_options": {"include_obfuscation": False}}, "stream_options: only with stream: true."),
    (
        {"stream": True, "stream_options": {"include_usage": True}},
        "stream_options.include_usage: this field is not supported.",
    ),
    (
        {"stream": True, "include": ["message.output_text.logprobs"]},
        "include: message.output_text.logprobs is not honoured together with stream: true.",
    ),
    ({"top_logprobs": 5}, "top_logprobs: needs message.output_text.logprobs in include."),
    ({"top_logprobs": 21}, "top_logprobs: must be less than or equal to 20, got 21."),
    ({"metadata": {"a": 1}}, "metadata.a: must be a valid string, got 1."),
    ({"cascade": {"force": "maybe"}}, "cascade.force: must be 'accept' or 'defer', got \"maybe\"."),
    ({"cascade": {"signal": "bleo"}}, "cascade.signal: no signal 'bleo'. Available: exact."),
    ({"previous_response_id": "resp_1"}, "previous_response_id: no response 'resp_1' is kept here (any longer)."),
    ({"previous_response_id": 1}, "previous_response_id: must be a valid string, got 1."),
    ({"store": "yes"}, 'store: must be a valid boolean, got "yes".'),
]


@pytest.mark.parametrize(("fields", "sentence"), BAD)
async def test_bad_values(http: httpx.AsyncClient, service: FakeService, fields: dict[str, Any], sentence: str):
    message, param = await refused(http, **fields)
    assert message == sentence
    assert param == sentence.split(":")[0]
    assert not service.runs
