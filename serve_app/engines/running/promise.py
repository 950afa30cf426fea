"""What a request demands of an answer's form, checked on the finished answer: engines differ in what they enforce."""

import json
from typing import Any

from jsonschema_rs import ValidationError, validator_for

from serve_app.core.tools import AnswerSchema, JsonSchema, NamedTool
from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.core.types.prompt import Prompt, ToolCall


def checked(prompt: Prompt, answer: Generation) -> Answer:
    """Return the answer, or a failure `invalid_output` if it breaks the schema that the request demands.

    An answer that was cut at its longest is not finished, and returned as it is.
    """
    problem = None if answer.finish_reason == "length" else _problem(prompt, answer)
    if problem is None:
        return answer
    return Failure(
        "invalid_output",
        f"The answer is not what the request demands: {problem}.",
        answer.prompt_tokens,
        answer.completion_tokens,
        answer.latency_s,
        answer.estimated,
    )


def _problem(prompt: Prompt, answer: Generation) -> str | None:
    choice = prompt.tool_choice
    must_call = bool(prompt.tools) and choice not in (None, "auto")
    if must_call and not answer.tool_calls:
        return "it calls no tool"
    for call in answer.tool_calls:
        if isinstance(choice, NamedTool) and call.name != choice.name:
            return f"it calls {call.name!r}, not {choice.name!r}"
        if (problem := _call_problem(prompt, call, must_call)) is not None:
            return problem
    form = prompt.response_format
    if form is None or answer.tool_calls:
        return None
    return _text_problem(answer.text, form.schema if isinstance(form, AnswerSchema) else {"type": "object"}, "it")


def _call_problem(prompt: Prompt, call: ToolCall, must_call: bool) -> str | None:
    """Return what is wrong with a call that is demanded, or one of a tool that is `strict`."""
    tool = next((tool for tool in prompt.tools if tool.name == call.name), None)
    if tool is None:
        return f"it calls {call.name!r}, which is not among the tools" if must_call else None
    if not must_call and not tool.strict:
        return None
    return _text_problem(call.arguments or "{}", tool.parameters or {"type": "object"}, f"its call of {call.name!r}")


def _text_problem(text: str, schema: JsonSchema, subject: str) -> str | None:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return f"{subject} is not valid JSON"
    try:
        validator = validator_for(dict(schema), offline=True, mask="the value")
    except ValidationError:
        return None  # a schema that no validator accepts, such as a pattern of another dialect, is not enforced
    try:
        validator.validate(value)
    except ValidationError as error:
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
        location = f" at {steps.lstrip('.')}" if steps else ""
        return f"{subject} breaks the schema{location}: {error.message}"[:300]
    return None
