"""What clients send back, and that any conversation that is accepted makes a prompt that models can be given."""

from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from serve_app.api.messages.prompt import to_ask
from serve_app.api.messages.schema import MessageRequest
from serve_app.core.types.prompt import Message, Prompt, ToolCall
from tests.api.serving import FakeService, Scripted

from .asking import ASK, PARIS, PATH, ROME, USER, WEATHER, returned

ANSWERS = [
    Scripted("Paris"),
    Scripted(""),
    Scripted("half an emoji: \ud83d"),
    Scripted("", tool_calls=(PARIS, ROME)),
    Scripted("", tool_calls=(ToolCall("c", "get_weather", '{"city": "Par'),)),
    Scripted("", tool_calls=(ToolCall("c", "get_weather", '{"city": "\\ud83d"}'),)),
    Scripted("", tool_calls=(ToolCall("c", "get_weather", "\ud83d"),)),
    Scripted("Paris", reasoning="Let me see.", tool_calls=(PARIS,)),
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("whole", [False, True])
async def test_every_answer_can_be_sent_back(http: httpx.AsyncClient, service: FakeService, answer: Scripted, whole):
    service.models["t"] = answer
    body = ASK | {"model": "t", "tools": [WEATHER]}
    message = (await http.post(PATH, json=body)).json()
    earlier = message if whole else {"role": "assistant", "content": message["content"]}
    results = {"role": "user", "content": [returned(call.id) for call in answer.tool_calls]}
    again = await http.post(PATH, json=body | {"messages": [USER, earlier, results, USER]})
    assert again.status_code == 200, again.text
    assert [call.id for call in answer.prompts[-1].messages[1].tool_calls] == [call.id for call in answer.tool_calls]


IDS = st.sampled_from(["1", "2", "3"])
TEXTS = st.sampled_from(["", "a", "b\n"])
TEXT_BLOCKS = st.builds(lambda text: {"type": "text", "text": text}, TEXTS)
CALLS = st.builds(
    lambda name, value: {"type": "tool_use", "id": name, "name": "f", "input": {"x": value}},
    IDS,
    st.none() | st.integers() | TEXTS,
)
RESULTS = st.builds(
    lambda name, content, failed: {"type": "tool_result", "tool_use_id": name, "content": content, "is_error": failed},
    IDS,
    TEXTS | st.none() | st.lists(TEXT_BLOCKS, max_size=2),
    st.booleans(),
)
THOUGHTS = st.sampled_from([{"type": "thinking", "thinking": "x"}, {"type": "redacted_thinking", "data": "x"}])


def turn(role: str, *blocks: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    content = TEXTS | st.lists(st.one_of(*blocks), max_size=3)
    return content.map(lambda value: {"role": role, "content": value})


TURNS = st.one_of(
    turn("user", TEXT_BLOCKS, RESULTS), turn("assistant", TEXT_BLOCKS, CALLS, THOUGHTS), turn("system", TEXT_BLOCKS)
)


def check(prompt: Prompt) -> None:
    """Check that results follow their calls directly and once, and that speakers alternate."""
    unanswered: list[str] = []
    before: Message | None = None
    for message in prompt.messages:
        if message.role == "tool":
            assert message.tool_call_id in unanswered
            unanswered.remove(message.tool_call_id)
        else:
            assert before is None or message.role != before.role or message.role == "system"
            unanswered = [call.id for call in message.tool_calls]
            assert message.role == "assistant" or not unanswered
        assert "x" not in message.content  # a thought
        before = message
    assert prompt.messages[-1].role != "assistant"


FAULTS = ("no call", "two calls", "must not be the assistant's")


@given(st.lists(TURNS, min_size=1, max_size=6), TEXTS)
@settings(max_examples=500, deadline=None)
def test_every_accepted_conversation_makes_a_valid_prompt(messages: list[Any], system: str):
    try:
        body = MessageRequest.model_validate(ASK | {"messages": messages, "system": system})
    except ValidationError as error:
        fault = str(error)
    else:
        fault = ""
        check(to_ask(body).prompt)
    assert not fault or any(words in fault for words in FAULTS)
