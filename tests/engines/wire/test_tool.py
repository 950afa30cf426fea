"""Tools, tool choices and response formats in OpenAI's JSON: worked by hand, and checked by the official client."""

from typing import Any

import pytest
from openai.types.chat import ChatCompletionFunctionTool, ChatCompletionNamedToolChoiceParam
from openai.types.shared import ResponseFormatJSONObject, ResponseFormatJSONSchema
from pydantic import TypeAdapter

from serve_app.core.tools import AnswerSchema, NamedTool, ResponseFormat, Tool, ToolChoice
from serve_app.engines.wire.tool import response_format_json, tool_choice_json, tool_json

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.mark.parametrize(
    ("tool", "function"),
    [
        (Tool("f"), {"name": "f"}),
        (
            Tool("f", "Does it.", SCHEMA, False),
            {"name": "f", "description": "Does it.", "parameters": SCHEMA, "strict": False},
        ),
        (Tool("f", "", {}), {"name": "f", "description": "", "parameters": {}}),
    ],
)
def test_a_tool_has_the_fields_that_the_client_wrote(tool: Tool, function: dict[str, Any]) -> None:
    assert tool_json(tool) == {"type": "function", "function": function}
    ChatCompletionFunctionTool.model_validate(tool_json(tool))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("auto", "auto"), ("required", "required"), (NamedTool("f"), {"type": "function", "function": {"name": "f"}})],
)
def test_tool_choices(choice: ToolChoice, expected: Any) -> None:
    assert tool_choice_json(choice) == expected
    if isinstance(choice, NamedTool):
        TypeAdapter(ChatCompletionNamedToolChoiceParam).validate_python(expected)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("json_object", {"type": "json_object"}),
        (AnswerSchema("x", SCHEMA), {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}),
        (
            AnswerSchema("x", {}, "A city.", True),
            {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {}, "description": "A city.", "strict": True},
            },
        ),
    ],
)
def test_response_formats(form: ResponseFormat, expected: dict[str, Any]) -> None:
    assert response_format_json(form) == expected
    TypeAdapter(ResponseFormatJSONObject | ResponseFormatJSONSchema).validate_python(expected)
