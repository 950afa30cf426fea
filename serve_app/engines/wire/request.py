"""A prompt as OpenAI's JSON."""

from typing import Any

from serve_app.core.types import Message, Prompt
from serve_app.engines.wire.dialect import Dialect


def request_body(dialect: Dialect, prompt: Prompt) -> dict[str, Any]:
    """The request in OpenAI's words, without `extra_body`. What nobody named is left out."""
    sampling = prompt.sampling
    raw = prompt.text is not None
    body: dict[str, Any] = {
        "model": dialect.model,
        "stream": dialect.stream or None,
        "stream_options": dialect.stream_options if dialect.stream else None,
        "temperature": dialect.temperature if sampling.temperature is None else sampling.temperature,
        "top_p": dialect.top_p if sampling.top_p is None else sampling.top_p,
        "seed": dialect.seed if sampling.seed is None else sampling.seed,
        "stop": list(sampling.stop) or None,
        "max_tokens" if raw else dialect.max_tokens_field: (
            dialect.max_tokens if sampling.max_tokens is None else sampling.max_tokens
        ),
    }
    if raw:
        body |= {"prompt": prompt.text, "logprobs": 1 if sampling.logprobs else None}
    else:
        body |= {
            "messages": [_message(message) for message in prompt.messages],
            "logprobs": sampling.logprobs or None,
            "tools": list(prompt.tools) or None,
            "tool_choice": prompt.tool_choice,
            "parallel_tool_calls": None if prompt.parallel_tool_calls else False,
            "response_format": prompt.response_format,
        }
    return {name: value for name, value in body.items() if value is not None}


def _message(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["content"] = message.content or None
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body
