"""Finished answers are validated against what the request demands."""

from dataclasses import replace
from typing import Any

import pytest

from serve_app.core.tools import AnswerSchema, NamedTool, Tool
from serve_app.core.types.answer import Failure, Generation
from serve_app.core.types.prompt import Message, Prompt, ToolCall
from serve_app.engines.running.promise import checked

AGE = {"type": "object", "properties": {"age": {"type": "integer", "multipleOf": 7}}, "required": ["age"]}
PLAIN = Prompt((Message("user", "How old?"),))
FORMAT = replace(PLAIN, response_format=AnswerSchema("x", AGE))
TOOLS = replace(PLAIN, tools=(Tool("set_age", None, AGE), Tool("stop")))
DEMANDED = replace(TOOLS, tool_choice="required")
NAMED = replace(TOOLS, tool_choice=NamedTool("stop"))
STRICT = replace(PLAIN, tools=(Tool("set_age", None, AGE, strict=True),), tool_choice="auto")


def text(value: str) -> Generation:
    return Generation(value, "stop", 10, 4, None, 0.5)


def call(name: str, arguments: str) -> Generation:
    return replace(text(""), finish_reason="tool_calls", tool_calls=(ToolCall("c", name, arguments),))


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (PLAIN, text("anything")),
        (FORMAT, text('{"age": 14}')),
        (replace(PLAIN, response_format="json_object"), text("{}")),
        # Cut at its longest: the client sees the finish reason.
        (FORMAT, replace(text('{"age": 1'), finish_reason="length")),
        (DEMANDED, call("set_age", '{"age": 7}')),
        (NAMED, call("stop", "{}")),
        (NAMED, call("stop", "")),
        # A call of the model's own choice promises nothing, unless its tool is strict; nor does a text beside tools.
        (TOOLS, call("set_age", "{")),
        (TOOLS, text("No.")),
        (STRICT, text("No.")),
        (STRICT, call("set_age", '{"age": 7}')),
    ],
)
def test_what_keeps_the_promise_is_returned_as_it_is(prompt: Prompt, answer: Generation) -> None:
    assert checked(prompt, answer) is answer


@pytest.mark.parametrize(
    ("prompt", "answer", "problem"),
    [
        (FORMAT, text("Fourteen."), "it is not valid JSON"),
        (FORMAT, text('{"age": 15}'), "it breaks the schema at age: the value is not a multiple of 7"),
        (FORMAT, text("{}"), 'it breaks the schema: "age" is a required property'),
        (replace(PLAIN, response_format="json_object"), text("[1]"), "it breaks the schema"),
        (DEMANDED, text("No."), "it calls no tool"),
        (DEMANDED, call("other", "{}"), "it calls 'other', which is not among the tools"),
        (DEMANDED, call("set_age", "{"), "its call of 'set_age' is not valid JSON"),
        (DEMANDED, call("set_age", '{"age": 8}'), "its call of 'set_age' breaks the schema at age"),
        (NAMED, call("set_age", '{"age": 7}'), "it calls 'set_age', not 'stop'"),
        (STRICT, call("set_age", '{"age": 8}'), "its call of 'set_age' breaks the schema at age"),
    ],
)
def test_what_breaks_it_is_a_failure_that_says_where(prompt: Prompt, answer: Generation, problem: str) -> None:
    failure: Any = checked(prompt, answer)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.prompt_tokens, failure.completion_tokens, failure.latency_s) == (
        "invalid_output",
        10,
        4,
        0.5,
    )
    assert failure.message.startswith("The answer is not what the request demands: ")
    assert problem in failure.message
