"""Streams that tell how the cascade goes on, for clients that ask for `cascade.events`."""

import json
from typing import Any

import httpx
import openai
import pytest

from serve_app.core.types.prompt import ToolCall

from .serving import FakeService, Scripted

ASK: dict[str, Any] = {
    "model": "default",
    "messages": [{"role": "user", "content": "Hi"}],
    "stream": True,
    "cascade": {"events": True},
}


async def events_of(http: httpx.AsyncClient, body: dict[str, Any] = ASK, path: str = "chat/completions") -> list[Any]:
    """Return the events of a response, and None for each chunk of the answer."""
    response = await http.post(f"/v1/{path}", json=body)
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line).get("cascade_event") for line in lines]


async def test_an_accepted_request(http: httpx.AsyncClient, service: FakeService) -> None:
    service.models["b"].delay_s = 0.02
    events = await events_of(http)
    assert [event and (event["type"], event.get("model", event.get("tier"))) for event in events] == [
        None,  # the role
        ("tier_started", 0),
        ("call_started", "a"),
        ("call_started", "b"),
        ("call_delta", "a"),
        ("call_ended", "a"),
        ("call_delta", "b"),
        ("call_ended", "b"),
        ("tier_ended", None),
        None,  # the text
        None,  # its end, with the record
    ]
    assert events[1] == {"type": "tier_started", "tier": 0, "models": ["a", "b"], "signal": "exact", "threshold": 0.8}
    assert events[4] == {"type": "call_delta", "model": "a", "text": "Paris"}
    assert (events[5]["status"], events[5]["completion_tokens"]) == ("ok", 1)
    assert (events[8]["agreement"], events[8]["accepted"], events[8]["similarities"]) == (1.0, True, [[1, 1], [1, 1]])
    assert "answers" not in events[8]


async def test_a_deferred_request_tells_of_the_target_too(http: httpx.AsyncClient, service: FakeService) -> None:
    service.disagree()
    body = ASK | {"cascade": {"events": True, "include_answers": True}}
    ended = [event for event in await events_of(http, body) if event and event["type"] == "tier_ended"]
    assert [tier.get("answers") for tier in ended] == [["Paris", "Rome"], ["It is Paris."]]
    assert ended[0]["reason"] == "disagreement"


async def test_tool_calls_and_reasoning_are_told(http: httpx.AsyncClient, service: FakeService) -> None:
    call = ToolCall("call_1", "weather", '{"city": "Paris"}')
    service.models["a"] = service.models["b"] = Scripted("", tool_calls=(call,), reasoning="Hm.")
    events = [event for event in await events_of(http) if event]
    ended = [event["tool_calls"] for event in events if event["type"] == "call_ended"]
    function = {"name": "weather", "arguments": '{"city": "Paris"}'}
    assert ended == [[{"id": "call_1", "type": "function", "function": function}]] * 2


async def test_a_text_completion_has_them_too(http: httpx.AsyncClient) -> None:
    body = {"model": "default", "prompt": "Hi", "stream": True, "cascade": {"events": True}}
    assert "tier_ended" in [event and event["type"] for event in await events_of(http, body, "completions")]


async def test_other_clients_read_the_same_answer(client: openai.AsyncOpenAI, service: FakeService) -> None:
    service.disagree()
    body = {key: ASK[key] for key in ("model", "messages")}
    stream = await client.chat.completions.create(**body, stream=True, extra_body={"cascade": {"events": True}})
    texts = [choice.delta.content async for chunk in stream for choice in chunk.choices]
    assert "".join(text or "" for text in texts) == "It is Paris."


async def test_nothing_is_told_unless_asked(http: httpx.AsyncClient) -> None:
    assert [event for event in await events_of(http, ASK | {"cascade": {}}) if event] == []


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("chat/completions", ASK | {"stream": False}, "cascade.events: only with stream: true."),
        (
            "responses",
            {"model": "default", "input": "Hi", "stream": True, "cascade": {"events": True}},
            "not supported",
        ),
        ("messages", ASK | {"max_tokens": 5}, "not supported"),
    ],
)
async def test_it_is_refused_where_it_is_not_honoured(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], sentence: str
) -> None:
    response = await http.post(f"/v1/{path}", json=body)
    assert response.status_code == 400
    assert sentence in response.json()["error"]["message"]
