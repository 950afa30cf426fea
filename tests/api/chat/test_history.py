"""What clients send back: earlier answers with all their fields, names, hints, and arguments as models left them."""

import json
from typing import Any

import httpx
import pytest

from serve_app.api.chat.tolerated import IGNORED
from serve_app.core.types.prompt import Message, Prompt, Sampling, ToolCall
from tests.api.chat.requests import BASE, CHAT, refused
from tests.api.chat.test_tools import PARIS, ROME, WEATHER
from tests.api.serving import FakeService, Scripted

USER: dict[str, Any] = {"role": "user", "content": "Say hi."}
TIME: dict[str, Any] = {"role": "user", "content": "What time is it?"}


def called(arguments: Any, **fields: Any) -> dict[str, Any]:
    function = {"name": "now", "arguments": arguments}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function} | fields],
    }


RESULT: dict[str, Any] = {"role": "tool", "tool_call_id": "c1", "content": "12:00"}
CALLED_NOW = Message("assistant", "", (ToolCall("c1", "now", "{}"),))
NOON = Message("tool", "12:00", tool_call_id="c1")
ASKED = Message("user", "Say hi.")
TIME_ASKED = Message("user", "What time is it?")

CASES: list[tuple[dict[str, Any], Prompt]] = [
    (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}],
                }
            ]
        },
        Prompt((Message("user", "hi"),)),
    ),
    ({"messages": [TIME, called(""), RESULT]}, Prompt((TIME_ASKED, CALLED_NOW, NOON))),
    ({"messages": [TIME, called("{}"), RESULT | {"name": "now"}]}, Prompt((TIME_ASKED, CALLED_NOW, NOON))),
    (
        {
            "messages": [
                USER,
                {"role": "assistant", "content": '{"name":"Bob"}', "refusal": None, "parsed": {"name": "Bob"}},
                USER,
            ]
        },
        Prompt((ASKED, Message("assistant", '{"name":"Bob"}'), ASKED)),
    ),
    ({"messages": [USER], "prompt_cache_key": "session-1"}, Prompt((ASKED,))),
    (
        {"messages": [USER, {"role": "assistant", "content": "hi", "reasoning_content": "The user greets."}, USER]},
        Prompt((ASKED, Message("assistant", "hi"), ASKED)),
    ),
    ({"messages": [USER], "top_p": 0}, Prompt((ASKED,), sampling=Sampling(top_p=1e-6))),
]


@pytest.mark.parametrize(("body", "prompt"), CASES)
async def test_requests_of_real_clients(
    http: httpx.AsyncClient, service: FakeService, body: dict[str, Any], prompt: Prompt
):
    response = await http.post(CHAT, json={"model": "default"} | body)
    assert response.status_code == 200, response.text
    assert service.models["a"].prompts == [prompt]


VALUE = {"any": ["value", 1, None]}


async def test_ignored_fields_reach_no_model(http: httpx.AsyncClient, service: FakeService):
    extra = {group: dict.fromkeys(fields, VALUE) for group, fields in IGNORED.items()}
    call = called("{}", **extra["call"])
    call["tool_calls"][0]["function"] |= extra["function"]
    part = {"type": "text", "text": "What time is it?"} | extra["part"]
    messages = [{"role": "user", "content": [part]}, call | extra["message"], RESULT]
    body = {"messages": messages, "tools": [WEATHER | extra["tool"]]} | extra["request"]
    plain = {"messages": [TIME, called("{}"), RESULT], "tools": [WEATHER]}
    for fields in (body, plain):
        assert (await http.post(CHAT, json=BASE[CHAT] | fields)).status_code == 200
    ignored, bare = service.models["a"].prompts
    assert ignored == bare


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (USER | {"parsed_arguments": {}}, "messages[0].parsed_arguments"),
        (USER | {"audio": {"id": "audio_1"}}, "messages[0].audio"),
        (USER | {"refusal": "No."}, "messages[0].refusal"),
        (USER | {"name": 5}, "messages[0].name"),
    ],
)
async def test_what_would_change_the_answer_is_refused(http: httpx.AsyncClient, message: Any, param: str):
    assert (await refused(http, CHAT, messages=[message]))[1] == param


class TestNames:
    SAID: Any = (
        {"role": "system", "content": "Be brief.", "name": "rules"},
        {"role": "user", "content": "Hello", "name": "Ann"},
        {"role": "assistant", "content": "Hi", "name": "Bot"},
        {"role": "user", "content": "Bye"},
        called("{}") | {"name": "Bot"},
        RESULT | {"name": "now"},
    )

    async def contents(self, http: httpx.AsyncClient, service: FakeService) -> list[str]:
        response = await http.post(CHAT, json=BASE[CHAT] | {"messages": self.SAID})
        assert response.status_code == 200, response.text
        return [message.content for message in service.models["a"].prompts[0].messages]

    async def test_are_ignored(self, http: httpx.AsyncClient, service: FakeService):
        assert await self.contents(http, service) == ["Be brief.", "Hello", "Hi", "Bye", "", "12:00"]

    async def test_may_be_written_before_the_text(self, http: httpx.AsyncClient, service: FakeService):
        service.names = "prefix"
        expected = ["rules: Be brief.", "Ann: Hello", "Bot: Hi", "Bye", "", "12:00"]
        assert await self.contents(http, service) == expected

    async def test_may_be_refused(self, http: httpx.AsyncClient, service: FakeService):
        service.names = "refuse"
        message, param = await refused(http, CHAT, messages=[USER, USER | {"name": "Ann"}])
        assert message == "messages[1].name: not honoured by this server (router.names: refuse)."
        assert param == "messages[1].name"
        assert (await http.post(CHAT, json=BASE[CHAT])).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ("", {}),
        (" \n", {}),
        (None, {}),
        ('{"city": "Zürich"}', {"city": "Zürich"}),
        ('{"city": "Par', {"invalid_arguments": '{"city": "Par'}),
        ("Paris", {"invalid_arguments": "Paris"}),
        ("[1]", {"invalid_arguments": "[1]"}),
        ("null", {"invalid_arguments": "null"}),
        ('{"a": NaN}', {"invalid_arguments": '{"a": NaN}'}),
        ('{"a": 1e999}', {"invalid_arguments": '{"a": 1e999}'}),
        ('{"a": "\\ud83d"}', {"invalid_arguments": '{"a": "\\ud83d"}'}),
        ('{"a": ' + "[" * 5000, {"invalid_arguments": '{"a": ' + "[" * 5000}),
    ],
)
async def test_arguments_reach_the_models_as_an_object(
    http: httpx.AsyncClient, service: FakeService, arguments: Any, shown: Any
):
    response = await http.post(CHAT, json=BASE[CHAT] | {"messages": [TIME, called(arguments), RESULT]})
    assert response.status_code == 200, response.text
    [call] = service.models["a"].prompts[0].messages[1].tool_calls
    assert json.loads(call.arguments) == shown


def assembled(stream: str) -> dict[str, Any]:
    """Return the message that a client assembles from a stream; calls keep the fields of their chunks."""
    message: dict[str, Any] = {"content": ""}
    for line in stream.split("\n"):
        if line.startswith("data: {"):
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                delta = choice["delta"]
                message |= {name: value for name, value in delta.items() if name != "content"}
                message["content"] += delta.get("content") or ""
    return message


ANSWERS: list[tuple[str, tuple[ToolCall, ...]]] = [
    ("Paris", ()),
    ("", ()),
    ("half an emoji: \ud83d", ()),
    ("one\n\ntwo\r\u2028three\x00", ()),
    ('{"name":"Bob"}', ()),
    ("", (PARIS,)),
    ("Let me look.", (PARIS, ROME)),
    ("", (ToolCall("1", "get_weather", '{"city": "Zürich \ud83d"}'),)),
    ("", (ToolCall("1", "get_weather", ""),)),
    ("", (ToolCall("1", "get_weather", '{"city": "Par'),)),
    ("", (ToolCall("1", "", "no JSON"),)),
]


@pytest.mark.parametrize(("text", "calls"), ANSWERS)
@pytest.mark.parametrize("stream", [False, True])
async def test_every_answer_is_accepted_as_history(
    http: httpx.AsyncClient, service: FakeService, text: str, calls: tuple[ToolCall, ...], stream: bool
):
    service.models["t"] = Scripted(text, tool_calls=calls)
    body = {"model": "t", "messages": [USER], "tools": [WEATHER]}
    answer = await http.post(CHAT, json=body | {"stream": stream})
    assert answer.status_code == 200
    message = assembled(answer.text) if stream else answer.json()["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": call.id, "content": "ok"} for call in calls]
    again = await http.post(CHAT, json=body | {"messages": [USER, message, *results, USER]})
    assert again.status_code == 200, again.text
    assert [call.id for call in service.models["t"].prompts[1].messages[1].tool_calls] == [call.id for call in calls]
