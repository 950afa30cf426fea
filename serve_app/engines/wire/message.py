"""Messages and tool calls as OpenAI's JSON."""

from collections.abc import Iterable
from typing import Any

from serve_app.core.types.prompt import Image, Message, ToolCall


def message_json(message: Message) -> dict[str, Any]:
    """Return one item of `messages`. The content is null if the message has calls and no text."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.parts:
        body["content"] = [_part_json(part) for part in message.parts]
    if message.tool_calls:
        body |= {"content": message.content or None, "tool_calls": tool_calls_json(message.tool_calls)}
    return body if message.tool_call_id is None else body | {"tool_call_id": message.tool_call_id}


def _part_json(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    detail = {} if part.detail is None else {"detail": part.detail}
    return {"type": "image_url", "image_url": {"url": part.url} | detail}


def tool_calls_json(calls: Iterable[ToolCall]) -> list[dict[str, Any]]:
    """Return the `tool_calls` of a message, of a request or of an answer."""
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
