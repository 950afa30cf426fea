"""What clients may send: honoured, accepted, or refused by name."""

import typing
from typing import Any

import httpx
import pytest
from anthropic.types import ToolParam, message_count_tokens_params, message_create_params

from serve_app.api.messages.schema import MessageRequest, TokenCount
from serve_app.api.messages.tolerated import IGNORED, NEUTRAL, TOOL_NEUTRAL
from serve_app.api.messages.tools import ClientTool
from serve_app.core.types.prompt import Message, Prompt, Sampling, ToolCall
from tests.api.serving import FakeService

from .asking import ASK, COUNT, PATH, USER, WEATHER, refused, returned, text, used

ELSEWHERE = {"context_management", "mcp_servers", "temperature", "top_p", "top_k"}
"""Fields of the beta API, which Anthropic's command-line agent speaks, and those that the client's version 1 had."""
REFUSED: dict[str, Any] = {
    "container": "container_1",
    "inference_geo": "eu",
    "mcp_servers": [{"type": "url", "name": "x", "url": "https://example.org"}],
    "service_tier": "priority",
    "speed": "fast",
    "top_k": 40,
}
"""A value that asks for something, for every field of the client's that we do not honour."""


def test_every_field_of_the_official_client_is_known_here():
    """Fails where a new version of the client brings a field: decide what to do with it."""
    official = set(typing.get_type_hints(message_create_params.MessageCreateParamsStreaming)) | ELSEWHERE
    assert official == (set(MessageRequest.model_fields) - {"cascade"}) | set(IGNORED["request"]) | set(REFUSED)
    counted = set(typing.get_type_hints(message_count_tokens_params.MessageCountTokensParams))
    assert counted <= set(TokenCount.model_fields) | set(IGNORED["request"]) | set(NEUTRAL)


def test_every_field_of_a_tool_is_known_here():
    accounted = set(ClientTool.model_fields) | set(IGNORED["tool"]) | set(TOOL_NEUTRAL)
    assert set(typing.get_type_hints(ToolParam)) == accounted


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_honoured_is_refused_by_name(http: httpx.AsyncClient, service: FakeService, name: str):
    assert (await refused(http, **{name: REFUSED[name]})).startswith(f"{name}: ")
    assert not service.runs


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in NEUTRAL.items() for value in values])
async def test_values_that_ask_for_nothing(http: httpx.AsyncClient, name: str, value: Any):
    assert (await http.post(PATH, json=ASK | {name: value})).status_code == 200


ANY = {"any": ["value", 1, None]}


async def test_ignored_fields_reach_no_model(http: httpx.AsyncClient, service: FakeService):
    extra = {group: dict.fromkeys(fields, ANY) for group, fields in IGNORED.items()}
    called = used({"id": "c1"} | extra["call"])
    called["content"] += [{"type": kind} | extra["thinking block"] for kind in ("thinking", "redacted_thinking")]
    body: Any = {
        "tools": [WEATHER | extra["tool"] | {name: values[0] for name, values in TOOL_NEUTRAL.items()}],
        "messages": [
            {"role": "user", "content": [text("Weather?", **extra["text block"])]},
            called | extra["message"],
            {"role": "user", "content": [returned("c1", **extra["result"])]},
        ],
    }
    bare: Any = {
        "tools": [WEATHER],
        "messages": [
            {"role": "user", "content": "Weather?"},
            used({"id": "c1"}),
            {"role": "user", "content": [returned("c1")]},
        ],
    }
    for fields in (body | extra["request"], bare):
        response = await http.post(PATH, json=ASK | fields, headers={"anthropic-version": "1", "x-api-key": "k"})
        assert response.status_code == 200, response.text
    ignored, plain = service.models["a"].prompts
    assert ignored == plain


async def test_sampling(http: httpx.AsyncClient, service: FakeService):
    fields = {"temperature": 0.5, "top_p": 0, "stop_sequences": ["\n"], "metadata": {"user_id": "u"}}
    assert (await http.post(PATH, json=ASK | fields)).status_code == 200
    expected = Sampling(max_tokens=100, temperature=0.5, top_p=1e-6, stop=("\n",))
    assert service.models["a"].prompts == [Prompt((Message("user", "Weather in Paris?"),), sampling=expected)]


@pytest.mark.parametrize(
    ("fields", "effort", "limit"),
    [
        ({}, None, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, None, None),
        ({"output_config": {"effort": "low"}}, "low", None),
        ({"output_config": {"effort": "max"}}, "xhigh", None),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, "none", None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, None, 2000),
    ],
)
async def test_thinking(http: httpx.AsyncClient, service: FakeService, fields: Any, effort: str | None, limit: Any):
    assert (await http.post(PATH, json=ASK | fields)).status_code == 200
    sampling = service.models["a"].prompts[0].sampling
    assert (sampling.reasoning_effort, sampling.max_reasoning_tokens) == (effort, limit)


NOTHING_TO_CLEAR = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}


@pytest.mark.parametrize(
    "fields",
    [
        {"thinking": {"type": "adaptive", "display": "summarized"}},
        {"output_config": {"effort": "high"}},
        {"context_management": NOTHING_TO_CLEAR},
        {"system": None, "tools": None, "thinking": None, "container": None},
        {"system": ""},
        {"system": []},
        {"tool_choice": {"type": "auto"}},
    ],
)
async def test_what_changes_nothing(http: httpx.AsyncClient, service: FakeService, fields: dict[str, Any]):
    assert (await http.post(PATH, json=ASK | fields)).status_code == 200
    assert service.models["a"].prompts[0].messages == (Message("user", "Weather in Paris?"),)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": None}, "max_tokens: required, but missing."),
        ({"max_tokens": 0}, "max_tokens: must be greater than or equal to 1, got 0."),
        ({"max_tokens": "5"}, 'max_tokens: must be a valid integer, got "5".'),
        ({"temperature": 1.5}, "temperature: must be less than or equal to 1, got 1.5."),
        ({"top_k": 5}, "top_k: not supported, except 0."),
        ({"stop_sequences": [""]}, "stop_sequences: must be at most 16 strings, none of them empty."),
        ({"stop_sequences": ["x"] * 17}, "stop_sequences: must be at most 16 strings, none of them empty."),
        ({"metadata": {"team": "x"}}, "metadata.team: this field is not supported."),
        ({"n": 2}, "n: this field is not supported."),
        ({"messages": []}, "messages: must have at least 1 item."),
        ({"messages": None}, "messages: required, but missing."),
        ({"messages": ["Hi"]}, "messages[0]: must be a JSON object."),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role: required, but missing."),
        (
            {"messages": [{"role": "tool", "content": "Hi"}]},
            "messages[0].role: must be 'user' or 'assistant' or 'system', got \"tool\".",
        ),
        ({"messages": [{"role": "user"}]}, "messages[0].content: required, but missing."),
        ({"messages": [USER | {"name": "Ann"}]}, "messages[0].name: this field is not supported."),
        (
            {"messages": [{"role": "user", "content": 5}]},
            "messages[0].content: must be a valid string or a valid list, got 5.",
        ),
        (
            {"messages": [{"role": "user", "content": [text("a"), {"type": "image", "source": {}}]}]},
            "messages[0].content[1].type: must be 'text' or 'tool_result', got \"image\".",
        ),
        (
            {"messages": [{"role": "user", "content": [{"text": "a"}]}]},
            "messages[0].content[0].type: required, but missing.",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": 5}]}]},
            "messages[0].content[0].type: must be 'text' or 'tool_result', got 5.",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text: required, but missing.",
        ),
        (
            {"messages": [{"role": "user", "content": [text("half: \ud83d")]}]},
            "messages[0].content[0].text: has half of a surrogate pair, which is not a character, got",
        ),
        (
            {"messages": [USER, used({"id": "c", "input": {"x": "\ud83d"}}), USER]},
            "messages[1].content[0].input: has half of a surrogate pair, which is not a character.",
        ),
        (
            {"messages": [USER, used({"id": "c", "input": "{}"}), USER]},
            "messages[1].content[0].input: must be a JSON object.",
        ),
        (
            {"messages": [{"role": "system", "content": [{"type": "tool_result"}]}]},
            "messages[0].content[0].type: must be 'text', got \"tool_result\".",
        ),
        (
            {"messages": [{"role": "user", "content": [returned("c", [{"type": "document"}])]}]},
            "messages[0].content[0].content[0].type: must be 'text', got \"document\".",
        ),
        ({"system": [{"type": "image"}]}, "system[0].type: must be 'text', got \"image\"."),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]},
            "tools[0].type: must be 'custom': tools that Anthropic defines or runs are not supported, "
            'got "web_search_20250305".',
        ),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema: required, but missing."),
        (
            {"tools": [WEATHER | {"name": "a b"}]},
            "tools[0].name: must match pattern '^[A-Za-z0-9_-]{1,128}$', got \"a b\".",
        ),
        ({"tools": [WEATHER | {"defer_loading": True}]}, "tools[0].defer_loading: this field is not supported."),
        ({"tools": [WEATHER, WEATHER]}, "tools: two tools have the same name."),
        ({"tool_choice": {"type": "any"}}, "tool_choice: needs tools."),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "get_wether"}},
            "tool_choice.name: no tool 'get_wether'. Did you mean 'get_weather'? Available: get_weather.",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "required"}},
            "tool_choice.type: must be 'auto' or 'any' or 'tool' or 'none', got \"required\".",
        ),
        ({"tools": [WEATHER], "tool_choice": "auto"}, "tool_choice: must be a JSON object."),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "tool_choice.name: required, but missing."),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens: required, but missing."),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 0}},
            "thinking.budget_tokens: must be greater than or equal to 1, got 0.",
        ),
        (
            {"thinking": {"type": "on"}},
            "thinking.type: must be 'adaptive' or 'disabled' or 'enabled', got \"on\".",
        ),
        (
            {"output_config": {"effort": "none"}},
            "output_config.effort: must be 'low', 'medium', 'high', 'xhigh' or 'max', got \"none\".",
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "list"}}}},
            "output_config.format.schema: is not a JSON schema: ",
        ),
        (
            {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
            "context_management.edits[0].type: must be 'clear_thinking_20251015', got \"clear_tool_uses_20250919\".",
        ),
        ({"cascade": {"force": "maybe"}}, "cascade.force: must be 'accept' or 'defer', got \"maybe\"."),
    ],
)
async def test_a_bad_value_is_refused(http: httpx.AsyncClient, service: FakeService, fields: Any, message: str):
    assert (await refused(http, **fields)).startswith(message)
    assert not service.runs


async def test_what_is_counted_is_checked_alike(http: httpx.AsyncClient):
    bodies: list[Any] = [{"tools": [{"name": "x"}]}, {"messages": [{"role": "tool"}]}, {"thinking": {"type": "x"}}]
    for body in bodies:
        assert await refused(http, COUNT, **body) == await refused(http, PATH, **body)


async def test_too_many_messages(http: httpx.AsyncClient, service: FakeService):
    count = service.limits.max_messages + 1
    assert (
        await refused(http, messages=[USER] * count) == f"messages: must have at most {count - 1} items, got {count}."
    )


def call(name: str) -> ToolCall:
    return ToolCall(name, "get_weather", '{"city": "Paris"}')


def result(name: str, content: str = "18 degrees") -> Message:
    return Message("tool", content, tool_call_id=name)


HI, HELLO = Message("user", "Hi"), Message("assistant", "Hello")
SAY_HI: Any = {"role": "user", "content": "Hi"}
SAY_HELLO: Any = {"role": "assistant", "content": [text("Hel"), text("lo")]}
CONVERSATIONS: list[tuple[dict[str, Any], tuple[Message, ...]]] = [
    ({"system": [text("Be "), text("brief.")], "messages": [SAY_HI]}, (Message("system", "Be brief."), HI)),
    ({"messages": [SAY_HI, SAY_HELLO, SAY_HI]}, (HI, HELLO, HI)),
    ({"messages": [SAY_HI, {"role": "user", "content": [text("there")]}]}, (Message("user", "Hi\n\nthere"),)),
    ({"messages": [SAY_HI, {"role": "assistant", "content": []}, SAY_HI]}, (HI, Message("assistant", ""), HI)),
    ({"messages": [{"role": "user", "content": []}]}, (Message("user", ""),)),
    ({"messages": [SAY_HI, {"role": "system", "content": "Now!"}]}, (HI, Message("system", "Now!"))),
    (
        {"messages": [SAY_HI, used({"id": "1"}), {"role": "user", "content": [text("And Rome?"), returned("1")]}]},
        (HI, Message("assistant", "", (call("1"),)), result("1"), Message("user", "And Rome?")),
    ),
    (
        {
            "messages": [
                SAY_HI,
                SAY_HELLO,
                used({"id": "1"}, {"id": "2"}),
                {"role": "user", "content": [returned("2", [text("18 "), text("degrees")])]},
                {"role": "user", "content": [text("Go on."), returned("1", None)]},
            ]
        },
        (
            HI,
            Message("assistant", "Hello", (call("1"), call("2"))),
            result("2"),
            result("1", ""),
            Message("user", "Go on."),
        ),
    ),
    (
        {"messages": [SAY_HI, used({"id": "1"}), {"role": "user", "content": [returned("1", "No.", is_error=True)]}]},
        (HI, Message("assistant", "", (call("1"),)), result("1", "Error: No.")),
    ),
    ({"messages": [SAY_HI, used({"id": "1"}), SAY_HI]}, (HI, Message("assistant", "", (call("1"),)), HI)),
]


@pytest.mark.parametrize(("fields", "messages"), CONVERSATIONS)
async def test_conversations(
    http: httpx.AsyncClient, service: FakeService, fields: dict[str, Any], messages: tuple[Message, ...]
):
    response = await http.post(PATH, json=ASK | fields)
    assert response.status_code == 200, response.text
    assert service.models["a"].prompts[0].messages == messages


NO_CALL = "messages[{}].content: no call {!r} in the assistant's turn before, or two results of it."
RESULT: Any = {"role": "user", "content": [returned("1")]}


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([RESULT], NO_CALL.format(0, "1")),
        ([SAY_HI, used({"id": "2"}), RESULT], NO_CALL.format(2, "1")),
        ([SAY_HI, used({"id": "1"}), SAY_HI, SAY_HELLO, RESULT], NO_CALL.format(4, "1")),
        ([SAY_HI, used({"id": "1"}), RESULT, RESULT], NO_CALL.format(3, "1")),
        ([SAY_HI, used({"id": "1"}), {"role": "system", "content": "Now!"}, RESULT], NO_CALL.format(3, "1")),
        ([SAY_HI, used({"id": "1"}), used({"id": "1"}), RESULT], "messages[2].content: two calls have the id '1'."),
        (
            [SAY_HI, SAY_HELLO],
            "messages[1].role: the last message must not be the assistant's; answers cannot be begun for it.",
        ),
    ],
)
async def test_conversations_that_do_not_fit(http: httpx.AsyncClient, messages: list[Any], message: str):
    assert await refused(http, messages=messages) == message
