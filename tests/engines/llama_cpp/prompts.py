"""Prompts with tools and response formats."""

from dataclasses import replace
from typing import Any

from serve_app.core.tools import Tool, ToolChoice
from serve_app.core.types.prompt import Prompt
from tests.engines.asking import chat

QUESTION = "What is the weather in Paris?"

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

WEATHER = Tool("get_weather", "Weather.", CITY)

PLACE = {
    "type": "object",
    "properties": {"country": {"enum": ["France", "Peru"]}},
    "required": ["country"],
    "additionalProperties": False,
}

WHERE = {
    "type": "object",
    "properties": {"where": {"$ref": "#/$defs/place"}},
    "required": ["where"],
    "$defs": {"place": PLACE},
}

CLOCK = Tool("get_time", "Time.", WHERE)

TOOLS = (WEATHER, CLOCK)

DEGREES = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}


def tools_prompt(
    choice: ToolChoice | None = None, *, tools: tuple[Tool, ...] = TOOLS, form: Any = None, **sampling: Any
) -> Prompt:
    prompt = chat(QUESTION, **({"max_tokens": 64, "temperature": 0.0} | sampling))
    return replace(prompt, tools=tools, tool_choice=choice, response_format=form)
