"""Turns of a conversation, and the blocks that they consist of."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator

from serve_app.api.fields.body import Body, Text
from serve_app.api.fields.variants import by_field, variant
from serve_app.api.messages.tolerated import IGNORED
from serve_app.core.text.characters import HALF_PAIR
from serve_app.core.types.prompt import Message, ToolCall

MAX_BLOCKS = 1024
"""Blocks of one message, and of one tool's result."""
ERROR_PREFIX = "Error: "
"""Written before the text of a result with `is_error`: models have no other mark for it."""


class TextBlock(Body):
    """A piece of text."""

    ignored = IGNORED["text block"]

    type: Literal["text"]
    text: Text


TextBlocks: TypeAlias = Annotated[list[TextBlock], Field(max_length=MAX_BLOCKS, fail_fast=True)]


def joined(content: str | Iterable[Body] | None) -> str:
    """Return the text of a string or of the text blocks among the blocks."""
    if isinstance(content, str):
        return content
    return "".join(block.text for block in content or () if isinstance(block, TextBlock))


class ToolUseBlock(Body):
    """A call that the assistant made."""

    ignored = IGNORED["call"]

    type: Literal["tool_use"]
    id: Text = Field(min_length=1)
    name: Text
    input: dict[str, Any]

    @field_validator("input")
    @classmethod
    def _readable(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError(HALF_PAIR) from None
        except ValueError:
            raise ValueError("has a number that JSON cannot express") from None
        return value

    def to_core(self) -> ToolCall:
        """Return the call that the models are shown."""
        return ToolCall(self.id, self.name, json.dumps(self.input, ensure_ascii=False))


class ToolResultBlock(Body):
    """What a tool returned to a call."""

    ignored = IGNORED["result"]

    type: Literal["tool_result"]
    tool_use_id: Text
    content: Text | TextBlocks | None = None
    is_error: bool = False

    def to_core(self) -> Message:
        """Return the message that the models are shown."""
        prefix = ERROR_PREFIX if self.is_error else ""
        return Message("tool", prefix + joined(self.content), tool_call_id=self.tool_use_id)


class ThinkingBlock(Body):
    """What the assistant thought before an earlier answer; models are not shown it."""

    ignored = IGNORED["thinking block"]

    type: Literal["thinking", "redacted_thinking"]


UserBlock: TypeAlias = Annotated[
    Annotated[TextBlock, variant("text")] | Annotated[ToolResultBlock, variant("tool_result")],
    by_field("type", "text", "tool_result"),
]
AssistantBlock: TypeAlias = Annotated[
    Annotated[TextBlock, variant("text")]
    | Annotated[ToolUseBlock, variant("tool_use")]
    | Annotated[ThinkingBlock, variant("thinking")]
    | Annotated[ThinkingBlock, variant("redacted_thinking")],
    by_field("type", "text", "tool_use", "thinking", "redacted_thinking"),
]


class UserMessage(Body):
    """What the user said, and what the tools returned that the assistant called."""

    role: Literal["user"]
    content: Text | Annotated[list[UserBlock], Field(max_length=MAX_BLOCKS, fail_fast=True)]

    @property
    def results(self) -> list[ToolResultBlock]:
        """Return the results of tools."""
        blocks = () if isinstance(self.content, str) else self.content
        return [block for block in blocks if isinstance(block, ToolResultBlock)]


class AssistantMessage(Body):
    """An earlier answer, in the request's own words or with all the fields of a response."""

    ignored = IGNORED["message"]

    role: Literal["assistant"]
    content: Text | Annotated[list[AssistantBlock], Field(max_length=MAX_BLOCKS, fail_fast=True)]

    @property
    def calls(self) -> list[ToolUseBlock]:
        """Return the calls of tools."""
        blocks = () if isinstance(self.content, str) else self.content
        return [block for block in blocks if isinstance(block, ToolUseBlock)]


class SystemMessage(Body):
    """An instruction in the midst of a conversation."""

    role: Literal["system"]
    content: Text | TextBlocks


AnyMessage: TypeAlias = UserMessage | AssistantMessage | SystemMessage
TaggedMessage: TypeAlias = Annotated[
    Annotated[UserMessage, variant("user")]
    | Annotated[AssistantMessage, variant("assistant")]
    | Annotated[SystemMessage, variant("system")],
    by_field("role", "user", "assistant", "system"),
]
