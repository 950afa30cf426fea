"""Tools and structured output as llama.cpp takes them, and calls read out of an answer.

What llama.cpp does (2026.10) and what we make of it:

* A template that knows no tools silently leaves them out, and calls in the history too. For such models we
  describe the tools in the system message and write calls and results as text, in the common form between `<tool_call>`
  tags.
* `tool_choice: required` allows any prose before the call, and one that names a function counts as `auto`. A grammar
  does bind: if a call is required, the answer is constrained to one call (never several), and we read it.
* A model may also answer with nothing but the JSON of a call, without the tags of its template; that is a call all the
  same, and so its text is held back until it is clear what it is.
* The template gets the tools as a variable. llama.cpp itself gets their names, to read calls in the model's own form,
  but not their schemas, of which it would build a grammar (see `grammar`); with log-probabilities it takes no tools.
* `json_object` alone allows any value; it becomes a schema.
"""

import json
import re
import secrets
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeAlias

from serve_app.core.tools import AnswerSchema, JsonSchema, NamedTool, ResponseFormat, Tool
from serve_app.core.types.prompt import Message, Prompt, ToolCall
from serve_app.engines.llama_cpp.grammar import grammar
from serve_app.engines.llama_cpp.template import Template, enable_thinking
from serve_app.engines.running.thinking import Markers
from serve_app.engines.wire.message import message_json
from serve_app.engines.wire.tool import tool_json

Json: TypeAlias = dict[str, Any]

MARKS = ("{", "[{", "[ {", "[\n", "```json", "```\n{", "<tool_call>")
"""How an answer begins that may be nothing but calls."""
FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\s*```", re.DOTALL)
TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>\s*", re.DOTALL)
DESCRIPTION = """You may call functions. Their signatures, one a line:
<tools>
{tools}
</tools>

To call one, answer with its name and its arguments as a JSON object between tags, and nothing else:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""


def chat_fields(prompt: Prompt, template: Template, markers: Markers | None = None) -> Json:
    """Return the fields of a request body for messages, tools, thoughts (in `markers`) and the form of the answer."""
    callable_tools = _callable_tools(prompt)
    tools = [tool_json(tool) for tool in callable_tools]
    schema = _schema(prompt, callable_tools)
    fields = _thinking_fields(prompt)
    if not template.knows_tools:
        fields["messages"] = _described(tools, _plain_messages(prompt.messages))
    else:
        fields["messages"] = [
            # A template may print the content, and a null as a word.
            message_json(message) | {"content": message.content}
            for message in prompt.messages
        ]
        if tools:
            fields.setdefault("chat_template_kwargs", {})["tools"] = tools
        if tools and schema is None and not prompt.sampling.logprobs:
            fields |= {"tools": list(map(_named, callable_tools)), "parallel_tool_calls": prompt.parallel_tool_calls}
    if schema is not None:
        fields["grammar"] = grammar(schema, template.thoughts_of(prompt), markers)
    return fields


def _thinking_fields(prompt: Prompt) -> Json:
    fields: Json = {}
    thinking, sampling = enable_thinking(prompt), prompt.sampling
    if thinking is not None:
        effort = {"reasoning_effort": sampling.reasoning_effort} if thinking else {}
        fields["chat_template_kwargs"] = {"enable_thinking": thinking} | effort
    if sampling.max_reasoning_tokens is not None:
        fields["thinking_budget_tokens"] = sampling.max_reasoning_tokens
    return fields


def _named(tool: Tool) -> Json:
    """Return the tool as llama.cpp's reader of calls needs it: it would make a grammar of its own of any schema."""
    return tool_json(Tool(tool.name, None, {"type": "object"}))


def _callable_tools(prompt: Prompt) -> list[Tool]:
    """Return the tools that may be called: all, or the one that the request names."""
    choice = prompt.tool_choice
    return [tool for tool in prompt.tools if not isinstance(choice, NamedTool) or tool.name == choice.name]


def _schema(prompt: Prompt, tools: Sequence[Tool]) -> JsonSchema | None:
    """Return the schema that binds the answer's text (the response format, a call if one is demanded, or either)."""
    answer_schema = _answer_schema(prompt.response_format)
    must_call = tools and prompt.tool_choice not in (None, "auto")
    if not must_call and (answer_schema is None or not tools):
        return answer_schema
    choices: list[Json] = []
    definitions: dict[str, JsonSchema] = {}
    for number, tool in enumerate(tools):
        definitions[f"arguments{number}"] = tool.parameters or {"type": "object", "properties": {}}
        choices.append(_call_schema(tool.name, f"arguments{number}"))
    if answer_schema is not None and not must_call:
        definitions["answer"] = answer_schema
        choices.append({"$ref": "#/$defs/answer"})
    moved = {name: _moved(schema, f"#/$defs/{name}") for name, schema in definitions.items()}
    return {"anyOf": choices, "$defs": moved}


def _answer_schema(form: ResponseFormat | None) -> JsonSchema | None:
    if form is None:
        return None
    return form.schema if isinstance(form, AnswerSchema) else {"type": "object"}


def _call_schema(name: str, definition: str) -> Json:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": {"$ref": f"#/$defs/{definition}"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _moved(schema: Any, path: str) -> Any:
    """Return a schema for use at `path` (such as `#/$defs/a`) in another one: its references to itself get the path."""
    if isinstance(schema, dict):
        moved = {key: _moved(value, path) for key, value in schema.items()}
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#"):
            moved["$ref"] = path + reference[1:]
        return moved
    return [_moved(value, path) for value in schema] if isinstance(schema, list) else schema


def _plain_messages(messages: Sequence[Message]) -> list[Json]:
    """Write calls as the assistant's text and results as the user's; those of one turn share a message."""
    plain: list[Json] = []
    before = ""
    for message in messages:
        if message.role == "tool":
            result = f"<tool_response>\n{message.content}\n</tool_response>"
            if before == "tool":
                plain[-1]["content"] += f"\n{result}"
            else:
                plain.append({"role": "user", "content": result})
        else:
            calls = [f"<tool_call>\n{_written(call)}\n</tool_call>" for call in message.tool_calls]
            plain.append({"role": message.role, "content": "\n".join([*filter(None, [message.content]), *calls])})
        before = message.role
    return plain


def _written(call: ToolCall) -> str:
    return f'{{"name": {json.dumps(call.name, ensure_ascii=False)}, "arguments": {call.arguments}}}'


def _described(tools: Sequence[Json], messages: list[Json]) -> list[Json]:
    if not tools:
        return messages
    text = DESCRIPTION.format(tools="\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools))
    if messages[0]["role"] == "system":
        return [{"role": "system", "content": f"{messages[0]['content']}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


class CallReader:
    """Buffers an answer's text as long as it may turn out to be nothing but calls of `tools`."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._names = frozenset(tool.name for tool in tools)
        self._holds = bool(tools)
        self._buffer = ""
        self._streamed: dict[int, list[str]] = {}

    def feed(self, text: str) -> str:
        """Take in `text` and return what can be shown now."""
        if not self._holds:
            return text
        self._buffer += text
        beginning = self._buffer.lstrip()
        self._holds = not beginning or any(beginning.startswith(mark) or mark.startswith(beginning) for mark in MARKS)
        return "" if self._holds else self._flush()

    def take(self, pieces: Sequence[Json]) -> None:
        """Take in pieces of calls that llama.cpp has read itself."""
        for piece in pieces:
            call = self._streamed.setdefault(piece["index"], ["", "", ""])
            function = piece.get("function") or {}
            parts = (piece.get("id"), function.get("name"), function.get("arguments"))
            self._streamed[piece["index"]] = [old + (new or "") for old, new in zip(call, parts, strict=True)]

    def end(self) -> tuple[str, tuple[ToolCall, ...]]:
        """Return the text still to be shown, and the calls."""
        calls = tuple(
            ToolCall(id_ or _new_id(), name, arguments) for _, (id_, name, arguments) in sorted(self._streamed.items())
        )
        text_calls = _read(self._buffer, self._names)
        return ("", calls + text_calls) if text_calls else (self._flush(), calls)

    def _flush(self) -> str:
        text, self._buffer = self._buffer, ""
        return text


def _read(text: str, names: Collection[str]) -> tuple[ToolCall, ...]:
    """Return the calls if the text is nothing else; otherwise none."""
    text = text.strip()
    fenced = FENCE.fullmatch(text)
    bare = fenced[1] if fenced else text
    pieces = TAGGED.findall(bare) if not TAGGED.sub("", bare) else [bare]
    try:
        return tuple(_call(value, names) for piece in pieces for value in _values(piece))
    except (LookupError, RecursionError, TypeError, ValueError):
        return ()


def _values(text: str) -> Iterator[Any]:
    """Yield the JSON values in `text`; those of an array one by one."""
    remaining_text = text.strip()
    while remaining_text:
        value, end = json.JSONDecoder().raw_decode(remaining_text)
        yield from value if isinstance(value, list) else [value]
        remaining_text = remaining_text[end:].lstrip()


def _new_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def _call(value: Json, names: Collection[str]) -> ToolCall:
    """Return the call. Raises `LookupError`, `TypeError` or `ValueError` for what is not a call."""
    name, arguments = value["name"], value["arguments"] if "arguments" in value else value["parameters"]
    if name not in names or not isinstance(arguments, dict):
        raise ValueError("not a call")
    return ToolCall(_new_id(), name, json.dumps(arguments, ensure_ascii=False))
