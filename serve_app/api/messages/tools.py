"""Tools and the choice among them: Anthropic's JSON -> core's types."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator

from serve_app.api.fields.body import Body, Text
from serve_app.api.fields.json_schema import JsonSchema
from serve_app.api.fields.variants import by_field, variant
from serve_app.api.messages.tolerated import IGNORED, TOOL_NEUTRAL
from serve_app.core.tools import NamedTool, Tool, ToolChoice

Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]


class ClientTool(Body):
    """A tool that the client runs; those that run at Anthropic are refused."""

    ignored = IGNORED["tool"]
    neutral = TOOL_NEUTRAL

    type: Literal["custom"] = "custom"
    name: Name
    description: Text | None = None
    input_schema: JsonSchema
    strict: bool | None = None

    @field_validator("type", mode="before")
    @classmethod
    def _run_by_the_client(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "custom":
            raise ValueError("must be 'custom': tools that Anthropic defines or runs are not supported")
        return value

    def to_core(self) -> Tool:
        """Return the tool that the models are given."""
        return Tool(self.name, self.description, self.input_schema, self.strict)


class FreeChoice(Body):
    """A choice that leaves the tool to the model: whether to call one, or which to call."""

    type: Literal["auto", "any"]
    disable_parallel_tool_use: bool = False

    def to_core(self) -> ToolChoice:
        """Return the tool choice that the models are given."""
        return "auto" if self.type == "auto" else "required"


class NamedChoice(Body):
    """A choice that demands a call of this very tool."""

    type: Literal["tool"]
    name: Name
    disable_parallel_tool_use: bool = False

    def to_core(self) -> ToolChoice:
        """Return the tool choice that the models are given."""
        return NamedTool(self.name)


class NoTool(Body):
    """A choice that forbids calls."""

    type: Literal["none"]


Choice: TypeAlias = Annotated[
    Annotated[FreeChoice, variant("auto")]
    | Annotated[FreeChoice, variant("any")]
    | Annotated[NamedChoice, variant("tool")]
    | Annotated[NoTool, variant("none")],
    by_field("type", "auto", "any", "tool", "none"),
]
