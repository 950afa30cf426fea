"""Tools, calls and response formats: what is taken, what reaches the models, what the official client gets back."""

import json
import time
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from serve_app.core.tools import AnswerSchema, NamedTool, Tool, ToolChoice
from serve_app.core.types.answer import Failure
from serve_app.core.types.prompt import Message, Prompt, ToolCall
from tests.api.chat.requests import BASE, CHAT, TEXT, refused
from tests.api.serving import FakeService, Scripted

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": ["string", "null"], "default": None}}},
        "strict": True,
    },
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "get_time"}}
NAMED = {"type": "function", "function": {"name": "get_time"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "city", "schema": {"type": "object"}, "strict": True}}
PARIS = ToolCall("call_1", "get_weather", '{"city": "Paris"}')
ROME = ToolCall("call_2", "get_weather", '{"city": "Rome"}')
USER: dict[str, Any] = {"role": "user", "content": "Weather in Paris?"}
CALLED: dict[str, Any] = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    ],
}
ASK: Any = {"model": "default", "messages": [USER], "tools": [WEATHER, CLOCK]}


def call(service: FakeService, *models: str, text: str = "", calls: tuple[ToolCall, ...] = (PARIS,)) -> None:
    for name in models:
        service.models[name] = Scripted(text, tool_calls=calls)


async def prompt_of(http: httpx.AsyncClient, service: FakeService, **fields: Any) -> Prompt:
    response = await http.post(CHAT, json=BASE[CHAT] | fields)
    assert response.status_code == 200, response.text
    return service.models["a"].prompts[-1]


@pytest.mark.parametrize(
    ("choice", "expected"), [("auto", "auto"), ("required", "required"), (NAMED, NamedTool("get_time"))]
)
async def test_tools_reach_the_models_as_they_were_written(
    http: httpx.AsyncClient, service: FakeService, choice: Any, expected: ToolChoice
):
    prompt = await prompt_of(http, service, tools=[WEATHER, CLOCK], tool_choice=choice, parallel_tool_calls=True)
    weather = Tool("get_weather", "The weather in a city.", WEATHER["function"]["parameters"], True)
    assert (prompt.tools, prompt.tool_choice) == ((weather, Tool("get_time")), expected)


async def test_a_tool_choice_without_tools_reaches_no_model(http: httpx.AsyncClient, service: FakeService):
    assert await prompt_of(http, service, tool_choice="auto") == await prompt_of(http, service)


async def test_one_call_at_a_time(http: httpx.AsyncClient, service: FakeService):
    assert not (await prompt_of(http, service, tools=[WEATHER], parallel_tool_calls=False)).parallel_tool_calls
    # It means nothing without tools.
    assert await prompt_of(http, service, parallel_tool_calls=False) == await prompt_of(http, service)


@pytest.mark.parametrize("stream", [False, True])
async def test_half_a_surrogate_pair_in_a_call_breaks_no_response(
    http: httpx.AsyncClient, service: FakeService, stream: bool
):
    call(service, "a", "b", calls=(ToolCall("1", "get_weather", '{"city": "Zürich \ud83d"}'),))
    response = await http.post(CHAT, json=BASE[CHAT] | {"tools": [WEATHER], "stream": stream})
    assert "Zürich \ufffd" in response.text


async def test_tools_that_must_not_be_called_are_not_shown(http: httpx.AsyncClient, service: FakeService):
    assert await prompt_of(http, service, tools=[WEATHER], tool_choice="none") == await prompt_of(http, service)


@pytest.mark.parametrize(
    ("form", "expected"),
    [({"type": "json_object"}, "json_object"), (SCHEMA, AnswerSchema("city", {"type": "object"}, strict=True))],
)
async def test_response_formats_reach_the_models(
    http: httpx.AsyncClient, service: FakeService, form: Any, expected: Any
):
    assert (await prompt_of(http, service, response_format=form)).response_format == expected
    assert (await prompt_of(http, service, response_format={"type": "text"})).response_format is None


async def test_a_conversation_with_tools_reaches_the_models(http: httpx.AsyncClient, service: FakeService):
    parts = [{"type": "text", "text": "18 "}, {"type": "text", "text": "degrees"}]
    result = {"role": "tool", "tool_call_id": "call_1", "content": parts}
    prompt = await prompt_of(http, service, messages=[USER, CALLED, result])
    assert prompt.messages == (
        Message("user", "Weather in Paris?"),
        Message("assistant", "", (PARIS,)),
        Message("tool", "18 degrees", tool_call_id="call_1"),
    )


def function(**values: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f"} | values}]}


DEEP: Any = {}
for _ in range(80):
    DEEP = {"a": DEEP}

BAD: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type: must be 'function', got \"custom\"."),
    ({"tools": [{"type": "function"}]}, "tools[0].function: required, but missing."),
    (function(name=""), "tools[0].function.name: must match pattern '^[A-Za-z0-9_-]{1,64}$', got \"\"."),
    (function(parameters=[]), "tools[0].function.parameters: must be a JSON object."),
    (function(parameters=DEEP), "tools[0].function.parameters: must be nested no deeper than 64 levels."),
    (
        function(parameters={"type": "object", "properties": {"a": {"type": "string", "minLength": -1}}}),
        "tools[0].function.parameters: is not a JSON schema: at properties.a.minLength: it is less than the minimum "
        "of 0.",
    ),
    (
        function(parameters={"anyOf": [{"type": "objekt"}], "$schema": "http://127.0.0.1:9/none"}),
        "tools[0].function.parameters: is not a JSON schema: at anyOf[0].type: it is not valid under any of the "
        "schemas listed in the 'anyOf' keyword.",
    ),
    (function(strict="yes"), 'tools[0].function.strict: must be a valid boolean, got "yes".'),
    (function(examples=[]), "tools[0].function.examples: this field is not supported."),
    ({"tools": [WEATHER, WEATHER]}, "tools: two functions have the same name."),
    ({"tools": [WEATHER] * 129}, "tools: must have at most 128 items."),
    ({"tool_choice": "required"}, "tool_choice: needs tools."),
    ({"tool_choice": NAMED}, "tool_choice: needs tools."),
    (
        {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "get_wether"}}},
        "tool_choice: no tool 'get_wether'. Did you mean 'get_weather'? Available: get_weather.",
    ),
    (
        {"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}},
        "tool_choice.type: must be 'function', got \"allowed_tools\".",
    ),
    ({"parallel_tool_calls": "yes"}, 'parallel_tool_calls: must be a valid boolean, got "yes".'),
    (
        {"response_format": {"type": "grammar"}},
        "response_format.type: must be 'text', 'json_object' or 'json_schema', got \"grammar\".",
    ),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema: required, but missing."),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        "response_format.json_schema.schema: required, but missing.",
    ),
    (
        {"response_format": SCHEMA | {"type": "json_object"}},
        'response_format.json_schema: only with type "json_schema".',
    ),
    (
        {"messages": [USER, {"role": "tool", "tool_call_id": "call_1", "content": "18"}]},
        "messages[1].tool_call_id: no assistant's message before has a call 'call_1'.",
    ),
    (
        {"messages": [USER | {"tool_call_id": "call_1"}]},
        'messages[0].tool_call_id: only with role "tool", got "call_1".',
    ),
    ({"messages": [CALLED | {"role": "user"}]}, 'messages[0].tool_calls: only with role "assistant".'),
    ({"messages": [{"role": "assistant", "tool_calls": []}]}, "messages[0].content: required, but missing."),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function"}]}]},
        "messages[0].tool_calls[0].function: required, but missing.",
    ),
]


@pytest.mark.parametrize(("fields", "sentence"), BAD)
async def test_bad_values(http: httpx.AsyncClient, service: FakeService, fields: dict[str, Any], sentence: str):
    message, param = await refused(http, CHAT, **fields)
    assert message == sentence
    assert param == sentence.split(":")[0]
    assert not service.runs


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "items": [{"type": "string"}]},
        {"type": "number", "minimum": 0, "exclusiveMinimum": True},
    ],
)
async def test_schemas_of_older_drafts_are_schemas(http: httpx.AsyncClient, service: FakeService, schema: Any):
    prompt = await prompt_of(http, service, tools=function(parameters=schema)["tools"])
    assert prompt.tools[0].parameters == schema


def objects(properties: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(properties)}}


UNBUILDABLE: list[tuple[Any, str]] = [
    ({"type": "array", "items": {}, "minItems": 5, "maxItems": 2}, "minItems is 5, but maxItems is 2"),
    (
        {"$defs": {"a": {"anyOf": [{"items": {"type": "string", "minLength": 5.0, "maxLength": 2}}]}}},
        "at $defs.a.anyOf[0].items: minLength is 5.0, but maxLength is 2",
    ),
    ({"allOf": [{"minProperties": 2, "maxProperties": 1}]}, "at allOf[0]: minProperties is 2, but maxProperties is 1"),
    ({"minLength": 5, "maxLength": 2**32 + 1}, "maxLength must be from 0 to 2147483647"),
    # A reference may lead to what is else no schema.
    ({"$ref": "#/default", "default": {"minItems": 1, "maxItems": 0}}, "at default: minItems is 1, but maxItems is 0"),
    ({"$ref": "#/default", "default": {"minLength": 2, "maxLength": True}}, "at default: minLength is 2, but maxLen"),
    ({"$ref": "#/default", "default": {"maxItems": -1}}, "at default: maxItems must be from 0 to 2147483647"),
    (
        {"properties": {"pattern": {"pattern": r"^\{[a-z]{3}b{5,2}$"}}},
        "at properties.pattern.pattern: {5,2} allows nothing",
    ),
    ({"pattern": r"[\]{]\\{12,0000000000003}"}, "at pattern: {12,0000000000003} allows nothing"),
    ({"pattern": "{" + "9" * 1000 + ",1}"}, "at pattern: {99999"),
    (objects(257), "at properties: has more than 256 properties"),
]


@pytest.mark.parametrize(("schema", "sentence"), UNBUILDABLE)
@pytest.mark.parametrize("field", ["tools[0].function.parameters", "response_format.json_schema.schema"])
async def test_schemas_that_no_grammar_can_be_built_of(
    http: httpx.AsyncClient, service: FakeService, schema: Any, sentence: str, field: str
):
    form = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
    message, param = await refused(http, CHAT, **(function(parameters=schema) if field[0] == "t" else form))
    assert message.startswith(f"{field}: cannot be answered: {sentence}")
    assert len(message) < 300
    assert param == field
    assert not service.runs


@pytest.mark.parametrize("reference", ["#/$defs/gone", "#/properties/b", "https://example.com/schema.json"])
async def test_references_that_lead_nowhere(http: httpx.AsyncClient, service: FakeService, reference: str):
    schema = {"type": "object", "properties": {"a": {"$ref": reference}}}
    message, param = await refused(http, CHAT, **function(parameters=schema))
    assert message.startswith("tools[0].function.parameters: has a $ref that leads nowhere: ")
    assert reference.removeprefix("#") in message
    assert param == "tools[0].function.parameters"
    assert not service.runs


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"$ref": "#"}, "its root"),
        ({"anyOf": [{"type": "null"}, {"$ref": "#"}]}, "its root"),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, "properties.a"),
        ({"properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}}, "properties.a"),
        ({"properties": {"a": {"anyOf": [{}, {"$ref": "#/properties/a/anyOf/1"}]}}}, "properties.a.anyOf[1]"),
        ({"$defs": {"a~/ b": {"not": {"$ref": "#/$defs/a~0~1%20b"}}}}, "$defs.a~/ b"),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "$defs."),
    ],
)
async def test_references_that_lead_back_to_themselves(http: httpx.AsyncClient, schema: Any, path: str):
    message, param = await refused(http, CHAT, **function(parameters=schema))
    assert message.startswith(f"tools[0].function.parameters: has a $ref that leads back to itself: at {path}")
    assert param == "tools[0].function.parameters"


BUILDABLE: list[Any] = [
    {"properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "same": {"const": {"$ref": "#"}}}},
    {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]},
    {"properties": {"minItems": {"type": "integer"}, "maxItems": {"type": "integer"}, "pattern": True}},
    {"type": "array", "items": {}, "minItems": 2, "maxItems": 2},
    {"type": "string", "minLength": 0, "maxLength": 0, "pattern": "^(a{2,3}|b{2,}|c{5}){0,1}$"},
    {"pattern": r"^\{5,2\}[{5,2}][^\]{5,2}]\\{2,5}[]{1,2}$"},
    {"pattern": r"a{5\d,2}"},
    objects(256),
    {"definitions": {"a": objects(100)}, "allOf": [{"$ref": "#/definitions/a"}, {"anyOf": [objects(156)]}]},
    {"properties": {"children": {"type": "array", "items": {"allOf": [{"$ref": "#"}]}}, "allOf": True}},
    {"properties": {"allOf": {"properties": {"$ref": {"type": "string"}}}}},
]


@pytest.mark.parametrize("schema", BUILDABLE)
async def test_schemas_that_a_grammar_can_be_built_of(http: httpx.AsyncClient, service: FakeService, schema: Any):
    prompt = await prompt_of(http, service, tools=function(parameters=schema)["tools"])
    assert prompt.tools[0].parameters == schema


@pytest.mark.parametrize("pattern", ["[" * 1000, "{" * 1000, "{" + "0" * 1000, "\\" * 1001])
async def test_a_long_pattern_is_read_at_once(http: httpx.AsyncClient, service: FakeService, pattern: str):
    started = time.process_time()
    await prompt_of(http, service, tools=function(parameters={"pattern": pattern})["tools"])
    assert time.process_time() - started < 10  # milliseconds; minutes if it backtracked


@pytest.mark.parametrize("value", [float("inf"), "half of \ud83d"])
async def test_a_schema_is_json_that_can_be_written(http: httpx.AsyncClient, value: Any):
    body = json.dumps(BASE[CHAT] | function(parameters={"default": [value]}))
    response = await http.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "tools[0].function.parameters"


@pytest.mark.parametrize(
    ("name", "value"),
    [("tools", [WEATHER]), ("tool_choice", "required"), ("response_format", SCHEMA), ("parallel_tool_calls", "yes")],
)
async def test_text_completions_refuse_them(http: httpx.AsyncClient, name: str, value: Any):
    message, param = await refused(http, TEXT, **{name: value})
    assert param == name
    assert message.startswith(f"{name}: not supported, except ")


class TestAnswers:
    async def test_an_accepted_call(self, client: openai.AsyncOpenAI, service: FakeService):
        """Ids and the spacing of arguments are no reason to disagree."""
        call(service, "a")
        call(service, "b", calls=(ToolCall("other", "get_weather", '{"city":"Paris"}'),))
        answer = await client.chat.completions.create(**ASK, extra_body={"cascade": {"include_answers": True}})
        ChatCompletion.model_validate(answer.model_dump())
        [choice] = answer.choices
        assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
        assert choice.message.tool_calls is not None
        assert [tool_call.model_dump() for tool_call in choice.message.tool_calls] == CALLED["tool_calls"]
        [tier] = answer.model_extra["cascade"]["tiers"]
        assert (tier["accepted"], tier["selected"], tier["answers"]) == (True, "a", ["", ""])
        assert tier["tool_calls"] == [
            [{"name": "get_weather", "arguments": '{"city": "Paris"}'}],
            [{"name": "get_weather", "arguments": '{"city":"Paris"}'}],
        ]

    async def test_other_calls_are_deferred(self, client: openai.AsyncOpenAI, service: FakeService):
        call(service, "a")
        call(service, "b", calls=(ROME,))
        call(service, "t", text="Let me look.", calls=(PARIS, ROME))
        message = (await client.chat.completions.create(**ASK)).choices[0].message
        assert message.content == "Let me look."
        assert [tool_call.id for tool_call in message.tool_calls or ()] == ["call_1", "call_2"]

    async def test_a_text_has_no_calls(self, client: openai.AsyncOpenAI):
        answer = await client.chat.completions.create(**ASK)
        assert (answer.choices[0].message.content, answer.choices[0].message.tool_calls) == ("Paris", None)

    async def test_a_call_can_be_sent_back_with_its_result(self, client: openai.AsyncOpenAI, service: FakeService):
        call(service, "a", "b")
        message = (await client.chat.completions.create(**ASK)).choices[0].message
        result: Any = {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees"}
        for sent in (message, message.model_dump()):
            await client.chat.completions.create(**ASK | {"messages": [USER, sent, result]})
        for prompt in service.models["a"].prompts[1:]:
            assert prompt.messages[1:] == (
                Message("assistant", "", (PARIS,)),
                Message("tool", "18 degrees", (), "call_1"),
            )


class TestStreams:
    async def chunks(self, client: openai.AsyncOpenAI) -> list[ChatCompletionChunk]:
        chunks = [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]
        for chunk in chunks:
            ChatCompletionChunk.model_validate(chunk.model_dump())
        return chunks

    async def test_an_accepted_call_is_one_chunk(self, client: openai.AsyncOpenAI, service: FakeService):
        call(service, "a", "b", calls=(PARIS, ROME))
        first, calls, last = await self.chunks(client)
        assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
        pieces = calls.choices[0].delta.tool_calls or []
        assert [(piece.index, piece.id, piece.type) for piece in pieces] == [
            (0, "call_1", "function"),
            (1, "call_2", "function"),
        ]
        functions = [(piece.function.name, piece.function.arguments) for piece in pieces if piece.function]
        assert functions == [("get_weather", PARIS.arguments), ("get_weather", ROME.arguments)]
        assert [chunk.choices[0].finish_reason for chunk in (first, calls, last)] == [None, None, "tool_calls"]
        assert last.model_extra["cascade"]["answered_by"] == "a"

    async def test_a_target_may_speak_before_it_calls(self, client: openai.AsyncOpenAI, service: FakeService):
        service.disagree()
        call(service, "t", text="Let me look.")
        deltas = [chunk.choices[0].delta for chunk in await self.chunks(client)]
        assert [delta.content for delta in deltas] == ["", "Let", " me", " look.", None, None]
        assert [bool(delta.tool_calls) for delta in deltas] == [False] * 4 + [True, False]

    async def test_a_members_call_stands_in_for_the_target(self, client: openai.AsyncOpenAI, service: FakeService):
        call(service, "a")
        service.fallback = True
        service.models["t"].text = Failure("unavailable", "Away.")
        _, calls, last = await self.chunks(client)
        assert [piece.id for piece in calls.choices[0].delta.tool_calls or ()] == ["call_1"]
        assert last.model_extra["cascade"]["replaced"]["kind"] == "unavailable"

    async def test_the_clients_own_helper_puts_it_together(self, client: openai.AsyncOpenAI, service: FakeService):
        call(service, "a", "b", calls=(PARIS, ROME))
        async with client.chat.completions.stream(**ASK) as stream:
            message = (await stream.get_final_completion()).choices[0].message
        assert [tool_call.function.arguments for tool_call in message.tool_calls or ()] == [
            PARIS.arguments,
            ROME.arguments,
        ]
