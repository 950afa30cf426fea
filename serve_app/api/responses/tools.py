"""Functions that may be called, and the form of an answer, as this API writes them: without chat's inner objects."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from serve_app.api.fields.body import Body, Text
from serve_app.api.fields.json_schema import JsonSchema
from serve_app.api.fields.tools import Name
from serve_app.api.fields.variants import by_field, variant
from serve_app.api.responses.tolerated import neutral_in
from serve_app.core.tools import AnswerSchema, NamedTool, ResponseFormat, Tool


class FunctionTool(Body):
    """One of `tools`: a function that the client can call for the model. Hosted and custom tools are refused."""

    type: Literal["function"]
    name: Name
    description: Text | None = None
    parameters: JsonSchema | None = None
    strict: bool | None = None

    def to_core(self) -> Tool:
        """Return the tool that the models are given."""
        return Tool(self.name, self.description, self.parameters, self.strict)


class NamedToolChoice(Body):
    """A `tool_choice` that demands a call of this very function."""

    type: Literal["function"]
    name: Name

    def to_core(self) -> NamedTool:
        """Return the tool choice that the models are given."""
        return NamedTool(self.name)


class PlainFormat(Body):
    """Any text, or any JSON object."""

    type: Literal["text", "json_object"]

    def to_core(self) -> ResponseFormat | None:
        """Return the form that the models' answers must have, or None if any text will do."""
        return None if self.type == "text" else "json_object"


class SchemaFormat(Body):
    """JSON of a schema."""

    type: Literal["json_schema"]
    name: Name
    description: Text | None = None
    schema_: JsonSchema = Field(alias="schema")
    strict: bool | None = None

    def to_core(self) -> ResponseFormat:
        """Return the form that the models' answers must have."""
        return AnswerSchema(self.name, self.schema_, self.description, self.strict)


Format: TypeAlias = Annotated[
    Annotated[PlainFormat, variant("text")]
    | Annotated[PlainFormat, variant("json_object")]
    | Annotated[SchemaFormat, variant("json_schema")],
    by_field("type", "text", "json_object", "json_schema"),
]


class TextConfig(Body):
    """What the answer's text must be."""

    neutral = neutral_in("text")

    format: Format = PlainFormat(type="text")
