"""Thoughts of llama.cpp's models: limits, structured output and tools, with a real model under templates that think."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from jsonschema_rs import is_valid

from serve_app.core.tools import AnswerSchema
from serve_app.engines import Engine
from serve_app.engines.llama_cpp.engine import LlamaCppEngine
from serve_app.engines.llama_cpp.grammar import GrammarChecker, grammar
from serve_app.engines.llama_cpp.template import Template
from serve_app.engines.llama_cpp.tools import chat_fields
from serve_app.engines.running.thinking import Markers
from serve_app.errors import EngineError, UnsupportedRequestError
from tests.engines.asking import chat, generate
from tests.engines.conftest import load_llama_cpp
from tests.engines.llama_cpp.prompts import CITY, tools_prompt
from tests.engines.llama_cpp.thinking_template import OPENED, UNOPENED, UNREADABLE

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = "What is the capital of France?"
THINKS = Template(thoughts="begun", thoughts_on="begun", thoughts_off="no")
FORM = AnswerSchema("x", CITY)


@pytest.mark.parametrize(
    ("sampling", "fields"),
    [
        ({}, {}),
        ({"reasoning_effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ({"reasoning_effort": "low"}, {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "low"}}),
        ({"max_reasoning_tokens": 9}, {"thinking_budget_tokens": 9}),
    ],
)
async def test_what_llama_cpp_is_told(sampling: dict[str, Any], fields: dict[str, Any]) -> None:
    body = chat_fields(chat(QUESTION, **sampling), THINKS, Markers())
    assert {name: value for name, value in body.items() if name != "messages"} == fields


async def test_a_grammar_allows_for_thoughts_where_the_template_has_them() -> None:
    prompt = replace(chat(QUESTION), response_format=FORM)
    off = replace(chat(QUESTION, reasoning_effort="none"), response_format=FORM)
    plain = chat_fields(prompt, Template())["grammar"]
    assert chat_fields(off, THINKS, Markers())["grammar"] == plain == chat_fields(prompt, THINKS, None)["grammar"]
    assert chat_fields(prompt, THINKS, Markers())["grammar"] != plain


@pytest.mark.parametrize("thoughts", ["begun", "possible"])
@pytest.mark.parametrize("markers", [Markers(), Markers(open='[T"]', close="<|end|>\\")])
async def test_grammars_with_thoughts_compile(thoughts: Any, markers: Markers) -> None:
    checker = GrammarChecker(time_limit_s=30)
    await checker.check(grammar(CITY, thoughts, markers), "response_format")
    with pytest.raises(UnsupportedRequestError, match=r"response_format: the JSON schema cannot be enforced: [A-Z]"):
        await checker.check(grammar({"enum": []}, thoughts, markers), "response_format")
    await checker.close()


@pytest_asyncio.fixture(params=["opened", "unopened"], loop_scope="session")
async def thinker(request: pytest.FixtureRequest, smollm2: Path) -> AsyncIterator[Engine]:
    engine = await load_llama_cpp(smollm2, chat_template={"opened": OPENED, "unopened": UNOPENED}[request.param])
    yield engine
    await engine.close()


@pytest.mark.models
async def test_what_a_template_does_with_thoughts_is_found(smollm2: Path) -> None:
    templates = {}
    for name, template in {"opened": OPENED, "unopened": UNOPENED, "unreadable": UNREADABLE, "none": None}.items():
        engine = await load_llama_cpp(smollm2, chat_template=template)
        assert isinstance(engine, LlamaCppEngine)
        templates[name] = engine._template
        await engine.close()
    assert templates == {
        "opened": Template(thoughts="begun", thoughts_on="begun", thoughts_off="no"),
        "unopened": Template(thoughts="possible", thoughts_on="possible", thoughts_off="no"),
        # llama.cpp turns thoughts off if its analysis finds none.
        "unreadable": Template(thoughts="no", thoughts_on="begun", thoughts_off="no"),
        "none": Template(),
    }


@pytest.mark.models
async def test_structured_output_after_thoughts(thinker: Engine) -> None:
    prompt = replace(chat(QUESTION, max_tokens=96, temperature=0.0, max_reasoning_tokens=5), response_format=FORM)
    answer = await generate(thinker, prompt)
    assert answer.finish_reason == "stop"
    assert "{" not in answer.reasoning
    assert is_valid(CITY, json.loads(answer.text))


@pytest.mark.models
async def test_demanded_calls_after_thoughts(thinker: Engine) -> None:
    answer = await generate(thinker, tools_prompt("required", max_tokens=96, max_reasoning_tokens=5))
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    assert len(answer.tool_calls) == 1


@pytest.mark.models
async def test_thoughts_turned_off(thinker: Engine) -> None:
    prompt = chat(QUESTION, max_tokens=40, temperature=0.0, reasoning_effort="none", logprobs=True)
    answer = await generate(thinker, prompt)
    assert (answer.reasoning, answer.reasoning_tokens) == ("", 0)
    assert answer.text
    assert "".join(entry.token for entry in answer.logprobs or ()) == answer.text
    formed = await generate(thinker, replace(prompt, response_format=FORM))
    assert (formed.reasoning, formed.text[:9]) == ("", '{"city": ')


@pytest.mark.models
async def test_thoughts_that_llama_cpp_does_not_end_end_the_answer(smollm2: Path) -> None:
    engine = await load_llama_cpp(smollm2, chat_template=UNREADABLE, reasoning={"begins_open": True})
    prompt = chat("Tell me a long story about a dog.", max_tokens=200, temperature=0.0, max_reasoning_tokens=4)
    low_effort = replace(prompt, sampling=replace(prompt.sampling, reasoning_effort="low"))
    answer = await generate(engine, low_effort)
    assert (answer.text, answer.finish_reason) == ("", "length")
    assert 4 < answer.reasoning_tokens == answer.completion_tokens <= 4 + 16 + 3
    await engine.close()


@pytest.mark.models
async def test_without_marks_thoughts_are_text(smollm2: Path) -> None:
    engine = await load_llama_cpp(smollm2, chat_template=OPENED, reasoning=None)
    answer = await generate(engine, chat(QUESTION, max_tokens=8, temperature=0.0))
    assert answer.reasoning == ""
    assert answer.text.startswith("<think>\n")
    raw = await generate(engine, replace(chat(QUESTION, max_tokens=8), messages=(), text="<think>"))
    assert raw.reasoning == ""
    await engine.close()


@pytest.mark.models
async def test_effort_needs_a_template_that_reads_it(smollm2: Path) -> None:
    with pytest.raises(EngineError, match="reasoning_effort: true needs a chat template that reads reasoning_effort"):
        await load_llama_cpp(smollm2, chat_template=OPENED, reasoning_effort=True)
    engine = await load_llama_cpp(smollm2, chat_template=OPENED + "{# reasoning_effort #}", reasoning_effort=True)
    await engine.close()
