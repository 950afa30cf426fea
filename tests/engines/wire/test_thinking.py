"""Thoughts in endpoints' answers, however those send them, over HTTP."""

from typing import Any

import pytest

from serve_app.core.types.answer import Delta, Generation
from serve_app.engines.base import Meter
from serve_app.engines.wire.dialect import Dialect
from serve_app.engines.wire.request import request_body
from serve_app.engines.wire.usage import token_counts
from tests.engines.asking import QUESTION, ask, chat, raw, stream
from tests.engines.conftest import Load
from tests.engines.endpoint import Endpoint
from tests.engines.replies import events, scored, text

pytestmark = pytest.mark.asyncio(loop_scope="session")

END = text("", "stop")


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


@pytest.mark.parametrize(
    "chunks",
    [
        (delta(reasoning_content="Capital?"), delta(reasoning_content=" Paris."), text("It is"), text(" Paris.")),
        (delta(reasoning="Capital? Paris."), text("It is Paris.")),
        (delta(reasoning_content="Capital? Paris.", content="It is Paris."),),
        (delta(content=[{"type": "thinking", "thinking": [{"text": "Capital? Paris."}]}]), text("It is Paris.")),
        (text("<think>Capital? Paris.</think>It is Paris."),),
        (text("<th"), text("ink>\nCapital? "), text("Paris.\n</thi"), text("nk>\n\n"), text("It is Paris.")),
    ],
    ids=["reasoning_content", "reasoning", "in one chunk", "parts", "think", "think in pieces"],
)
async def test_thoughts_are_told_apart(endpoint: Endpoint, load: Load, chunks: tuple[dict[str, Any], ...]) -> None:
    endpoint.script.append(events(*chunks, END))
    deltas, answer = await stream(await load(), chat(QUESTION))
    assert (answer.reasoning, answer.text) == ("Capital? Paris.", "It is Paris.")
    assert deltas[0].reasoning
    assert 0 < answer.reasoning_tokens < answer.completion_tokens


async def test_text_after_thoughts_that_were_told_apart_is_text(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(events(delta(reasoning_content="hm"), text("<think>x</think>y"), END))
    answer = await ask(await load())
    assert (answer.reasoning, answer.text) == ("hm", "<think>x</think>y")


async def test_halves_of_a_character_in_thoughts(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(events(delta(reasoning_content="\ud83c"), delta(reasoning_content="\udf89"), text("y"), END))
    assert (await ask(await load())).reasoning == "🎉"


async def test_an_answer_cut_inside_its_thoughts_is_empty(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(events(text("<think>How ma"), text("", "length")))
    answer = await ask(await load())
    assert (answer.reasoning, answer.text, answer.finish_reason) == ("How ma", "", "length")
    assert answer.reasoning_tokens == answer.completion_tokens > 0


@pytest.mark.parametrize(
    ("values", "sent", "reasoning", "answered"),
    [
        ({"reasoning": {"begins_open": True}}, "hm</think>Paris", "hm", "Paris"),
        ({"reasoning": {"open": "[THINK]", "close": "[/THINK]"}}, "[THINK]hm[/THINK]Paris", "hm", "Paris"),
        ({"reasoning": None}, "<think>hm</think>Paris", "", "<think>hm</think>Paris"),
    ],
)
async def test_a_models_own_marks(
    endpoint: Endpoint, load: Load, values: dict[str, Any], sent: str, reasoning: str, answered: str
) -> None:
    endpoint.script.append(events(text(sent), END))
    answer = await ask(await load(**values))
    assert (answer.reasoning, answer.text) == (reasoning, answered)


async def test_raw_completions_are_not_divided(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(events({"choices": [{"text": "<think>hm</think>x", "finish_reason": "stop"}]}))
    answer = await ask(await load(), raw("<think>"))
    assert (answer.reasoning, answer.text) == ("", "<think>hm</think>x")


@pytest.mark.parametrize("content", ["<think>hm</think>\n\nIt is.", "It is."])
async def test_logprobs_are_those_of_the_text(endpoint: Endpoint, load: Load, content: str) -> None:
    """Whether the endpoint leaves the thoughts in the text, or tells them apart but sends their tokens, too."""
    tokens = ["<think>", "hm", "</think>", "\n\n", "It", " is", "."]
    chunk = scored(content, *((token, -0.1) for token in tokens))
    if not content.startswith("<"):
        chunk["choices"][0]["delta"]["reasoning_content"] = "hm"
    endpoint.script.append(events(chunk))
    answer = await ask(await load(), chat(QUESTION, logprobs=True))
    assert [entry.token for entry in answer.logprobs or ()] == ["It", " is", "."]


async def test_thoughts_that_an_endpoint_hides_are_counted(endpoint: Endpoint, load: Load) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 30, "completion_tokens_details": {"reasoning_tokens": 28}}
    endpoint.script.append(events(text("Paris", "stop", usage=usage)))
    answer = await ask(await load())
    assert (answer.reasoning, answer.completion_tokens, answer.reasoning_tokens) == ("", 30, 28)


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({}, (9, 30, 0)),
        ({"completion_tokens_details": None}, (9, 30, 0)),
        ({"completion_tokens_details": {"reasoning_tokens": 31}}, (9, 30, 0)),
        ({"completion_tokens_details": {"reasoning_tokens": True}}, (9, 30, 0)),
        ({"completion_tokens_details": {"reasoning_tokens": 20}, "total_tokens": 39}, (9, 30, 20)),
        # xAI counts the text alone as completion tokens, and so does Google, without saying what the rest is.
        ({"completion_tokens_details": {"reasoning_tokens": 500}, "total_tokens": 539}, (9, 530, 500)),
        ({"total_tokens": 539}, (9, 530, 500)),
        ({"total_tokens": "n/a"}, (9, 30, 0)),
    ],
)
async def test_reasoning_tokens(fields: dict[str, Any], counts: tuple[int, int, int]) -> None:
    assert token_counts({"prompt_tokens": 9, "completion_tokens": 30} | fields) == counts


@pytest.mark.parametrize(
    ("dialect", "sampling", "fields"),
    [
        ({}, {"reasoning_effort": "none"}, {}),
        ({"reasoning_effort": True}, {}, {}),
        ({"reasoning_effort": True}, {"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ({"reasoning_effort": True}, {"reasoning_effort": "none"}, {"reasoning_effort": "none"}),
        ({"thinking_switch": True}, {"reasoning_effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ({"max_reasoning_tokens_field": "thinking_budget"}, {"max_reasoning_tokens": 9}, {"thinking_budget": 9}),
        ({"max_reasoning_tokens_field": "thinking_budget"}, {}, {}),
    ],
)
async def test_what_an_endpoint_is_told(
    dialect: dict[str, Any], sampling: dict[str, Any], fields: dict[str, Any]
) -> None:
    plain = request_body(Dialect("big", "here"), chat(QUESTION))
    assert request_body(Dialect("big", "here", **dialect), chat(QUESTION, **sampling)) == plain | fields


async def test_the_limit_reaches_the_endpoint_in_its_words(endpoint: Endpoint, load: Load) -> None:
    endpoint.script += [events(text("Paris", "stop"))] * 2
    engine = await load(max_reasoning_tokens_field="thinking_budget", reasoning_effort=True, extra_body={"x": 1})
    await ask(engine, chat(QUESTION, max_reasoning_tokens=9, reasoning_effort="low"))
    assert [endpoint.last[name] for name in ("thinking_budget", "reasoning_effort", "x")] == [9, "low", 1]
    await ask(engine)
    assert not {"thinking_budget", "reasoning_effort"} & endpoint.last.keys()


async def test_every_delta_says_which_it_is(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(events(text("<think>a</think>b"), END))
    items = [item async for item in (await load()).stream(chat(QUESTION), Meter())]
    assert [(item.reasoning, item.text) for item in items if isinstance(item, Delta)] == [("a", "b")]
    assert isinstance(items[-1], Generation)
