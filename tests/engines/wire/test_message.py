"""Messages in OpenAI's JSON, worked by hand."""

from typing import Any

import pytest

from serve_app.core.types.prompt import Message, ToolCall
from serve_app.engines.wire.message import message_json

CALL = ToolCall("c1", "weather", '{"city": "Paris"}')
CALL_JSON = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Message("user", "Hi"), {"role": "user", "content": "Hi"}),
        (Message("user", ""), {"role": "user", "content": ""}),
        (
            Message("assistant", "", (CALL,)),
            {"role": "assistant", "content": None, "tool_calls": [CALL_JSON]},
        ),
        (
            Message("assistant", "Wait.", (CALL, CALL)),
            {"role": "assistant", "content": "Wait.", "tool_calls": [CALL_JSON, CALL_JSON]},
        ),
        (Message("tool", "Rain", tool_call_id="c1"), {"role": "tool", "content": "Rain", "tool_call_id": "c1"}),
    ],
)
def test_messages(message: Message, expected: dict[str, Any]) -> None:
    assert message_json(message) == expected
