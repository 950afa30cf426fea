"""Answers as the history of the next turn: sent back by the client, or gone on from by their ids."""

import json
from typing import Any

import httpx
import pytest

from serve_app.api.responses.tolerated import IGNORED
from serve_app.core.types.prompt import Message, ToolCall
from tests.api.chat.test_history import ANSWERS
from tests.api.serving import FakeService, Scripted

from .test_client import PARIS, ROME, WEATHER
from .test_requests import BASE, PATH

USER = {"role": "user", "content": "Hi"}
AGAIN = {"role": "user", "content": "And then?"}
CALL = {"type": "function_call", "call_id": "c1", "name": "now", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "12:00"}
NOON = Message("tool", "12:00", tool_call_id="c1")


async def shown(http: httpx.AsyncClient, service: FakeService, *items: Any) -> tuple[Message, ...]:
    """Return the messages that the models are shown of these items."""
    response = await http.post(PATH, json=BASE | {"input": items})
    assert response.status_code == 200, response.text
    return service.models["a"].prompts[-1].messages


async def test_calls_belong_to_the_text_before_them(http: httpx.AsyncClient, service: FakeService):
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]}
    thought = {"type": "reasoning", "summary": []}
    call = ToolCall("c1", "now", "{}")
    assert await shown(http, service, USER, thought, message, CALL, CALL | {"call_id": "c2"}, RESULT) == (
        Message("user", "Hi"),
        Message("assistant", "Let me look.", (call, ToolCall("c2", "now", "{}"))),
        NOON,
    )
    assert await shown(http, service, USER, CALL, RESULT, CALL | {"call_id": "c2"}) == (
        Message("user", "Hi"),
        Message("assistant", "", (call,)),
        NOON,
        Message("assistant", "", (ToolCall("c2", "now", "{}"),)),
    )


async def test_a_result_may_be_parts(http: httpx.AsyncClient, service: FakeService):
    parts = [{"type": "input_text", "text": "12"}, {"type": "input_text", "text": ":00"}]
    assert (await shown(http, service, USER, CALL, RESULT | {"output": parts}))[-1] == NOON


async def test_ignored_fields_reach_no_model(http: httpx.AsyncClient, service: FakeService):
    extra = {group: {name: {"any": [1, None]} for name in fields} for group, fields in IGNORED.items()}
    part = {"type": "input_text", "text": "Hi"} | extra["a part"]
    items = [
        {"role": "user", "content": [part]} | extra["a message"],
        {"type": "reasoning"} | extra["a `reasoning` item"],
        CALL | extra["a `function_call`"],
        RESULT | extra["a `function_call_output`"],
    ]
    body = BASE | {"input": items, "reasoning": extra["`reasoning`"]} | extra["the request"]
    response = await http.post(PATH, json=body)
    assert response.status_code == 200, response.text
    await shown(http, service, USER, CALL, RESULT)
    ignored, bare = service.models["a"].prompts
    assert ignored == bare


@pytest.mark.parametrize(("text", "calls"), ANSWERS)
@pytest.mark.parametrize("stream", [False, True])
async def test_every_answer_is_accepted_as_history(
    http: httpx.AsyncClient, service: FakeService, text: str, calls: tuple[ToolCall, ...], stream: bool
):
    """And it is shown to the models in the same way, whether it is sent back or gone on from."""
    service.models["t"] = Scripted(text, tool_calls=calls, reasoning="Hm.")
    body = BASE | {"model": "t", "tools": [WEATHER]}
    answer = await http.post(PATH, json=body | {"input": [USER], "stream": stream})
    assert answer.status_code == 200
    first = last_response(answer.text) if stream else answer.json()
    results = [{"type": "function_call_output", "call_id": call.id, "output": "ok"} for call in calls]
    for sent in (
        {"input": [USER, *first["output"], *results, AGAIN]},
        {"input": [*results, AGAIN], "previous_response_id": first["id"]},
    ):
        again = await http.post(PATH, json=body | sent)
        assert again.status_code == 200, again.text
    _, sent_back, gone_on = service.models["t"].prompts
    assert sent_back == gone_on
    assert [call.id for call in sent_back.messages[1].tool_calls] == [call.id for call in calls]


def last_response(stream: str) -> dict[str, Any]:
    [*_, data] = [line for line in stream.split("\n") if line.startswith("data: ")]
    response: dict[str, Any] = json.loads(data.removeprefix("data: "))["response"]
    return response


async def test_answers_of_chat_and_of_responses_are_the_same_history(http: httpx.AsyncClient, service: FakeService):
    service.models["t"] = Scripted("Let me look.", tool_calls=(PARIS, ROME))
    output = (await http.post(PATH, json=BASE | {"model": "t"})).json()["output"]
    chat = {"model": "t", "messages": [USER]}
    message = (await http.post("/v1/chat/completions", json=chat)).json()["choices"][0]["message"]
    assert (await http.post(PATH, json=BASE | {"model": "t", "input": [USER, *output, AGAIN]})).status_code == 200
    await http.post("/v1/chat/completions", json=chat | {"messages": [USER, message, AGAIN]})
    *_, of_responses, of_chat = service.models["t"].prompts
    assert of_responses == of_chat
