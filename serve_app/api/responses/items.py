"""Items of `input`: messages, calls of functions, their results, and reasoning of earlier turns."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from serve_app.api.fields.arguments import readable_arguments
from serve_app.api.fields.body import Body, Text
from serve_app.api.fields.messages import MAX_PARTS
from serve_app.api.fields.variants import by_field, variant
from serve_app.api.responses.tolerated import IGNORED
from serve_app.core.types.prompt import ToolCall


class TextPart(Body):
    """A text part of a message or of a function's result; images, audio and files are refused."""

    ignored = IGNORED["a part"]

    type: Literal["input_text", "output_text"]
    text: Text


Content: TypeAlias = Text | Annotated[list[TextPart], Field(max_length=MAX_PARTS, fail_fast=True)]


def text_of(content: str | list[TextPart]) -> str:
    """Return a content's text, with its parts joined."""
    return content if isinstance(content, str) else "".join(part.text for part in content)


class MessageItem(Body):
    """One message, of the client or of an earlier answer."""

    ignored = IGNORED["a message"]

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class FunctionCallItem(Body):
    """A call that an earlier answer made; `arguments` is JSON as the model wrote it, so it may be empty or cut."""

    ignored = IGNORED["a `function_call`"]

    type: Literal["function_call"]
    call_id: Text = Field(min_length=1)
    name: Text
    arguments: Text = ""

    def to_core(self) -> ToolCall:
        """Return the call that the models are shown."""
        return ToolCall(self.call_id, self.name, readable_arguments(self.arguments))


class FunctionOutputItem(Body):
    """The result of a call."""

    ignored = IGNORED["a `function_call_output`"]

    type: Literal["function_call_output"]
    call_id: Text
    output: Content


class ReasoningItem(Body):
    """What a model wrote to itself in an earlier turn; models are not shown it again."""

    ignored = IGNORED["a `reasoning` item"]

    type: Literal["reasoning"]


Item: TypeAlias = Annotated[
    Annotated[MessageItem, variant("message")]
    | Annotated[FunctionCallItem, variant("function_call")]
    | Annotated[FunctionOutputItem, variant("function_call_output")]
    | Annotated[ReasoningItem, variant("reasoning")],
    by_field("type", "message", "function_call", "function_call_output", "reasoning"),
]
