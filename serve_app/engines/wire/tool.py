"""Tools, tool choices and response formats as OpenAI's JSON."""

from typing import Any

from serve_app.core.tools import AnswerSchema, NamedTool, ResponseFormat, Tool, ToolChoice


def tool_json(tool: Tool) -> dict[str, Any]:
    """Return one item of `tools`; fields that the client did not write are left out."""
    fields = {"description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    return {"type": "function", "function": {"name": tool.name} | _without_nulls(fields)}


def tool_choice_json(choice: ToolChoice) -> str | dict[str, Any]:
    """Return a `tool_choice`."""
    return {"type": "function", "function": {"name": choice.name}} if isinstance(choice, NamedTool) else choice


def response_format_json(form: ResponseFormat) -> dict[str, Any]:
    """Return a `response_format`; fields that the client did not write are left out."""
    if not isinstance(form, AnswerSchema):
        return {"type": form}
    fields = {"description": form.description, "strict": form.strict}
    return {
        "type": "json_schema",
        "json_schema": {"name": form.name, "schema": form.schema} | _without_nulls(fields),
    }


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
