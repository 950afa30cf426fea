"""What is read out of llama.cpp's chunks."""

import json
from typing import Any

import pytest

from serve_app.core.types.answer import Delta, Generation
from serve_app.core.types.prompt import ToolCall
from serve_app.engines import Meter
from serve_app.engines.llama_cpp.call import Call
from serve_app.engines.running.thinking import Markers
from tests.engines.llama_cpp.prompts import tools_prompt

pytestmark = pytest.mark.asyncio(loop_scope="session")


def choice(delta: dict[str, Any], finish_reason: str | None = None) -> str:
    return json.dumps({"choices": [{"delta": delta, "finish_reason": finish_reason}]})


def piece(arguments: str, **first: Any) -> str:
    """Return a piece as llama.cpp sends it: the id and the name come with the first."""
    function = {"arguments": arguments} | ({"name": first.pop("name")} if first else {})
    return choice({"tool_calls": [{"index": first.pop("index", 0), "function": function} | first]})


def played(*chunks: str, markers: Markers | None = None, **sampling: Any) -> tuple[list[Delta], Generation]:
    deltas: list[Delta] = []
    call = Call({}, tools_prompt(**sampling), Meter(10, 5), 64, deltas.append, markers)
    for chunk in chunks:
        assert not call(chunk)
    assert call.error is None
    return deltas, call.generation()


async def test_calls_that_llama_cpp_has_read_are_put_together() -> None:
    deltas, answer = played(
        choice({"role": "assistant", "content": None}),
        choice({"content": "Let me look."}),
        piece("{", id="x", type="function", name="get_weather"),
        piece('"city": '),
        piece('"Paris"}'),
        piece("{}", index=1, id="y", type="function", name="get_time"),
        choice({}, "tool_calls"),
    )
    assert [delta.text for delta in deltas] == ["Let me look."]
    assert (answer.text, answer.finish_reason) == ("Let me look.", "tool_calls")
    assert answer.tool_calls == (ToolCall("x", "get_weather", '{"city": "Paris"}'), ToolCall("y", "get_time", "{}"))


async def test_a_call_that_is_cut_off_says_so() -> None:
    _, answer = played(piece('{"ci', id="x", type="function", name="get_weather"), choice({}, "length"))
    assert (answer.tool_calls, answer.finish_reason) == ((ToolCall("x", "get_weather", '{"ci'),), "length")


async def test_calls_and_stop_strings_come_after_the_thoughts() -> None:
    deltas, answer = played(
        choice({"content": "<think>{STOP}"}),
        choice({"content": ' "name"</think>\n{"name": "get_weather", '}),
        choice({"content": '"arguments": {"city": "Paris"}}'}, "stop"),
        markers=Markers(),
        stop=("STOP",),
    )
    assert [(delta.reasoning, delta.text) for delta in deltas] == [("{STOP}", ""), (' "name"', "")]
    assert (answer.reasoning, answer.text, len(answer.tool_calls)) == ('{STOP} "name"', "", 1)
    assert answer.reasoning_tokens == 5
