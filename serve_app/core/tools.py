"""What a request lets a model call, and what form it demands of the answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

JsonSchema: TypeAlias = Mapping[str, object]
"""A JSON schema as the client wrote it."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the client can call for the model.

    `parameters` is the schema of its arguments; without it the function takes none. `strict` is sent on as the client
    wrote it (None: not at all); engines differ in what they make of it.
    """

    name: str
    description: str | None = None
    parameters: JsonSchema | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class NamedTool:
    """A tool choice that demands a call of this very tool."""

    name: str


ToolChoice: TypeAlias = Literal["auto", "required"] | NamedTool
"""Whether the model may call a tool, must call one, or must call the named one."""


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """A response format that demands an answer of this JSON schema; `strict` as in `Tool`."""

    name: str
    schema: JsonSchema
    description: str | None = None
    strict: bool | None = None


ResponseFormat: TypeAlias = Literal["json_object"] | AnswerSchema
"""Any JSON object, or JSON of a given schema."""
