"""Tools, calls of them, and the form of an answer: OpenAI's JSON -> core's types."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from serve_app.api.chat.tolerated import IGNORED
from serve_app.api.fields.arguments import readable_arguments
from serve_app.api.fields.body import Body, Text
from serve_app.api.fields.json_schema import JsonSchema
from serve_app.api.fields.tools import MAX_TOOLS, Name
from serve_app.core.tools import AnswerSchema, NamedTool, Tool
from serve_app.core.tools import ResponseFormat as Format
from serve_app.core.types.prompt import ToolCall


class Function(Body):
    """A function that the client can call for the model. Without `parameters` it takes none."""

    name: Name
    description: Text | None = None
    parameters: JsonSchema | None = None
    strict: bool | None = None


class FunctionTool(Body):
    """One of `tools`; custom tools are refused."""

    ignored = IGNORED["tool"]

    type: Literal["function"]
    function: Function

    def to_core(self) -> Tool:
        """Return the tool that the models are given."""
        function = self.function
        return Tool(function.name, function.description, function.parameters, function.strict)


class FunctionName(Body):
    """The function that a `tool_choice` names."""

    name: Name


class NamedToolChoice(Body):
    """A `tool_choice` that demands a call of this very function."""

    type: Literal["function"]
    function: FunctionName

    def to_core(self) -> NamedTool:
        """Return the tool choice that the models are given."""
        return NamedTool(self.function.name)


class FunctionCall(Body):
    """The function that was called; `arguments` is JSON as the model wrote it, so it may be empty or cut."""

    ignored = IGNORED["function"]

    name: Text
    arguments: Text = ""


class AssistantToolCall(Body):
    """A call in an assistant's message."""

    ignored = IGNORED["call"]

    id: Text = Field(min_length=1)
    type: Literal["function"]
    function: FunctionCall

    def to_core(self) -> ToolCall:
        """Return the call that the models are shown."""
        return ToolCall(self.id, self.function.name, readable_arguments(self.function.arguments))


class NamedSchema(Body):
    """The `json_schema` of a response format."""

    name: Name
    description: Text | None = None
    schema_: JsonSchema = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
    """What the answer's text must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = Field(None, validate_default=True)

    @field_validator("json_schema")
    @classmethod
    def _with_its_type(cls, value: NamedSchema | None, info: ValidationInfo) -> NamedSchema | None:
        kind = info.data.get("type")
        if value is None and kind == "json_schema":
            raise ValueError("required, but missing")
        if value is not None and kind not in (None, "json_schema"):
            raise ValueError('only with type "json_schema"')
        return value

    def to_core(self) -> Format | None:
        """Return the form that the models' answers must have, or None if any text will do."""
        schema = self.json_schema
        if schema is not None:
            return AnswerSchema(schema.name, schema.schema_, schema.description, schema.strict)
        return None if self.type == "text" else "json_object"


class Turn(Body):
    """What a message of a conversation with tools has beside its text."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    tool_calls: list[AssistantToolCall] = Field(
        [], max_length=MAX_TOOLS, fail_fast=True, description="What the assistant called."
    )
    tool_call_id: Text | None = Field(None, validate_default=True, description="The call that a tool answers.")

    @field_validator("tool_calls")
    @classmethod
    def _by_the_assistant(cls, value: list[AssistantToolCall], info: ValidationInfo) -> list[AssistantToolCall]:
        if value and info.data.get("role") not in (None, "assistant"):
            raise ValueError('only with role "assistant"')
        return value

    @field_validator("tool_call_id")
    @classmethod
    def _by_a_tool(cls, value: str | None, info: ValidationInfo) -> str | None:
        role = info.data.get("role")
        if value is None and role == "tool":
            raise ValueError("required, but missing")
        if value is not None and role not in (None, "tool"):
            raise ValueError('only with role "tool"')
        return value
