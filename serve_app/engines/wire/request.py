"""A prompt as OpenAI's JSON."""

from typing import Any

from serve_app.core.types.prompt import Prompt, Sampling
from serve_app.engines.wire.dialect import Dialect
from serve_app.engines.wire.message import message_json
from serve_app.engines.wire.tool import response_format_json, tool_choice_json, tool_json


def request_body(dialect: Dialect, prompt: Prompt) -> dict[str, Any]:
    """Return the request as OpenAI's JSON, without `extra_body`. Values that are not set are left out."""
    sampling = prompt.sampling
    form = prompt.response_format
    raw = prompt.text is not None
    body: dict[str, Any] = {
        "model": dialect.model,
        "stream": dialect.stream or None,
        "stream_options": dialect.stream_options if dialect.stream else None,
        "temperature": dialect.temperature if sampling.temperature is None else sampling.temperature,
        "top_p": dialect.top_p if sampling.top_p is None else sampling.top_p,
        "seed": dialect.seed if sampling.seed is None else sampling.seed,
        "stop": list(sampling.stop) or None,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "logit_bias": {str(token): bias for token, bias in sampling.logit_bias} or None,
        "max_tokens" if raw else dialect.max_tokens_field: (
            dialect.max_tokens if sampling.max_tokens is None else sampling.max_tokens
        ),
    }
    if raw:
        body |= {"prompt": prompt.text, "logprobs": 1 if sampling.logprobs else None}
    else:
        body |= {
            "messages": [message_json(message) for message in prompt.messages],
            "logprobs": sampling.logprobs or None,
            "top_logprobs": sampling.top_logprobs or None,
            "tools": [tool_json(tool) for tool in prompt.tools] or None,
            "tool_choice": None if prompt.tool_choice is None else tool_choice_json(prompt.tool_choice),
            "parallel_tool_calls": None if prompt.parallel_tool_calls else False,
            "response_format": None if form is None else response_format_json(form),
            **_reasoning(dialect, sampling),
        }
    return {name: value for name, value in body.items() if value is not None}


def _reasoning(dialect: Dialect, sampling: Sampling) -> dict[str, Any]:
    field, effort = dialect.max_reasoning_tokens_field, sampling.reasoning_effort
    off = dialect.thinking_switch and effort == "none"
    return {
        "reasoning_effort": effort if dialect.reasoning_effort and not off else None,
        "chat_template_kwargs": {"enable_thinking": False} if off else None,
        **({} if field is None else {field: sampling.max_reasoning_tokens}),
    }
