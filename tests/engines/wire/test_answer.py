"""What is read out of an endpoint's chunks, over HTTP: tool calls, token counts, log-probabilities, endings."""

from typing import Any

import pytest

from serve_app.core.tools import Tool
from serve_app.core.types.answer import Delta
from serve_app.core.types.prompt import Message, Prompt, ToolCall
from serve_app.engines.base import Meter
from tests.engines.asking import QUESTION, ask, chat, failure
from tests.engines.conftest import Load
from tests.engines.endpoint import Endpoint
from tests.engines.replies import ANSWER, events, scored, text

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOOL = Tool("weather", parameters={"type": "object"})


async def test_tool_calls_come_in_pieces(endpoint: Endpoint, load: Load) -> None:
    pieces = [
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city":'}},
        {"index": 1, "id": "c2", "function": {"name": "time", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": ' "Paris"}'}},
    ]
    chunks = [{"choices": [{"delta": {"tool_calls": [piece]}}]} for piece in pieces]
    endpoint.script.append(events(*chunks, {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}))
    answer = await ask(await load(), Prompt((Message("user", "Weather?"),), tools=(TOOL,)))
    assert answer.tool_calls == (ToolCall("c1", "weather", '{"city": "Paris"}'), ToolCall("c2", "time", "{}"))
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    assert answer.estimated
    assert answer.completion_tokens >= 4


async def test_whole_tool_calls_without_an_index(endpoint: Endpoint, load: Load) -> None:
    calls = [{"id": id_, "function": {"name": "weather", "arguments": "{}"}} for id_ in ("c1", "c2")]
    endpoint.script.append(events({"choices": [{"delta": {"tool_calls": calls}, "finish_reason": "stop"}]}))
    answer = await ask(await load(), Prompt((Message("user", "Weather?"),), tools=(TOOL,)))
    assert [call.id for call in answer.tool_calls] == ["c1", "c2"]
    assert answer.finish_reason == "tool_calls"


async def test_calls_that_share_an_index(endpoint: Endpoint, load: Load) -> None:
    """Another id with a name begins another call; an id alone does not, as some endpoints make one for each piece."""
    pieces = [
        {"index": 0, "function": {"name": "weather", "arguments": '{"x":'}},
        {"index": 0, "id": "a", "function": {"arguments": " 1"}},
        {"index": 0, "id": "other", "function": {"arguments": "}"}},
        {"index": 0, "id": "b", "function": {"name": "time", "arguments": '{"x":'}},
        {"index": 0, "id": "b", "function": {"name": "time", "arguments": " 2}"}},
    ]
    chunks = [{"choices": [{"delta": {"tool_calls": [piece]}}]} for piece in pieces]
    endpoint.script.append(events(*chunks, {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}))
    answer = await ask(await load(), Prompt((Message("user", "Weather?"),), tools=(TOOL,)))
    assert answer.tool_calls == (ToolCall("a", "weather", '{"x": 1}'), ToolCall("b", "time", '{"x": 2}'))


async def test_an_answer_in_one_piece_does_not_say_when_its_first_token_was_there(
    endpoint: Endpoint, load: Load
) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    endpoint.script += [ANSWER, events(text("Paris.", "stop", usage=usage)), events(text("Par"), text("is.", "stop"))]
    engine = await load()
    answers = [await ask(engine) for _ in range(3)]
    assert [answer.first_token_s is None for answer in answers] == [False, True, False]


async def test_without_usage_tokens_are_estimated_and_said_to_be(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(events(text("It is"), text(" Paris."), text("", "stop")))
    answer = await ask(await load())
    # 12 bytes at 3 to a token; the prompt's 30, and 8 tokens for its message
    assert (answer.prompt_tokens, answer.completion_tokens, answer.estimated) == (18, 4, True)


async def test_usage_is_counted(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(ANSWER)
    answer = await ask(engine := await load())
    assert (answer.prompt_tokens, answer.completion_tokens, answer.estimated) == (9, 1, False)
    counters = engine.counters()
    assert (counters.requests, counters.prompt_tokens, counters.completion_tokens) == (1, 9, 1)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": None, "completion_tokens": 7},
        {"prompt_tokens": 9, "completion_tokens": None},
        {"completion_tokens": 7},
        {"prompt_tokens": -50, "completion_tokens": 7},
        {"prompt_tokens": 9, "completion_tokens": float("inf")},
        {"prompt_tokens": 10**400, "completion_tokens": 7},
        {"prompt_tokens": "9", "completion_tokens": True},
        "n/a",
    ],
)
async def test_usage_that_is_no_count_is_none(endpoint: Endpoint, load: Load, usage: Any) -> None:
    endpoint.script.append(events(text("Paris", "stop", usage=usage)))
    answer = await ask(await load())
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens, answer.estimated) == ("Paris", 18, 2, True)


async def test_a_refusal_is_an_answer(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(events({"choices": [{"delta": {"refusal": "I cannot."}, "finish_reason": "stop"}]}))
    assert (await ask(await load())).text == "I cannot."


@pytest.mark.parametrize("reason", ["content_filter", "abort"])
async def test_an_answer_that_the_endpoint_cut_is_none(endpoint: Endpoint, load: Load, reason: str) -> None:
    endpoint.script.append(events(text("Par", reason)))
    message, meter = await failure(await load())
    assert message == f"The answer of the model 'big' at {endpoint.host} was cut off by the endpoint ({reason})."
    assert meter.completion_tokens == 1


async def test_logprobs_are_finite_and_at_most_0(endpoint: Endpoint, load: Load) -> None:
    entries = [("P", 50.0), ("ar", 0), ("is", float("-inf")), (".", -1e9)]
    endpoint.script.append(events(scored("Paris.", *entries)))
    answer = await ask(await load(), chat(QUESTION, logprobs=True))
    assert [entry.logprob for entry in answer.logprobs or ()] == [0.0, 0.0, -9999.0, -9999.0]


EMOJI = [
    ("Hi", -0.1, list(b"Hi")),
    (r" \xf0\x9f", -0.1, list(b" \xf0\x9f")),
    (r"\x98", -0.1, list(b"\x98")),
    (r"\x80", -0.1, list(b"\x80")),
    (" there", -0.2, list(b" there")),
]


@pytest.mark.parametrize(
    ("entries", "count"),
    [
        ([*EMOJI, (" é", -0.3, None)], 6),
        ([*EMOJI, (" é", -0.3), ("", -0.4)], 7),
        ([*EMOJI, (" é", -0.3), ("EN", -0.4), ("D", -0.5)], 6),
        ([*EMOJI, (" éE", -0.3), ("ND", -0.4)], 6),
    ],
)
async def test_logprobs_end_where_a_stop_string_begins(
    endpoint: Endpoint, load: Load, entries: list[tuple[Any, ...]], count: int
) -> None:
    """Tokens are measured in bytes, as those that are a part of a character come in escapes."""
    endpoint.script.append(events(scored("Hi 😀 there é", *entries)))
    answer = await ask(await load(), chat(QUESTION, logprobs=True, stop=("END",)))
    assert [entry.token for entry in answer.logprobs or ()] == [entry[0] for entry in entries[:count]]


async def test_logprobs_of_a_call_are_no_text_to_cut(endpoint: Endpoint, load: Load) -> None:
    chunk = scored("", ("{", -0.1), ("}", -0.2), finish_reason="tool_calls")
    chunk["choices"][0]["delta"]["tool_calls"] = [{"id": "c1", "function": {"name": "weather", "arguments": "{}"}}]
    endpoint.script.append(events(chunk))
    answer = await ask(await load(), chat("Weather?", logprobs=True, stop=("END",)))
    assert len(answer.logprobs or ()) == 2


async def test_promised_logprobs_that_do_not_come(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(ANSWER)
    message, _ = await failure(await load(), chat(QUESTION, logprobs=True))
    assert message.endswith("sent no log-probabilities, though its config says logprobs: true.")


async def test_a_call_without_an_id_gets_one(endpoint: Endpoint, load: Load) -> None:
    calls = [{"id": id_, "function": {"name": "weather", "arguments": ""}} for id_ in ("", None)]
    endpoint.script.append(events({"choices": [{"delta": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}))
    answer = await ask(await load(), Prompt((Message("user", "Weather?"),), tools=(TOOL,)))
    first, second = (call.id for call in answer.tool_calls)
    assert first.startswith("call_")
    assert second.startswith("call_")
    assert first != second


PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Pa"}]


async def test_content_may_be_a_list_of_parts(endpoint: Endpoint, load: Load) -> None:
    second = {"delta": {"content": [{"type": "text", "text": "ris"}]}, "finish_reason": "stop"}
    endpoint.script.append(events({"choices": [{"delta": {"content": PARTS}}]}, {"choices": [second]}))
    answer = await ask(await load())
    assert (answer.text, answer.finish_reason) == ("Paris", "stop")


@pytest.mark.parametrize(
    ("reason", "read"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("max_tokens", "length"), ("LENGTH", "length"), ("end_turn", "stop")],
)
async def test_finish_reasons_in_other_words(endpoint: Endpoint, load: Load, reason: str, read: str) -> None:
    endpoint.script.append(events(text("Paris", reason)))
    assert (await ask(await load())).finish_reason == read


@pytest.mark.parametrize("reason", ["SAFETY", "CONTENT_FILTER", "RECITATION"])
async def test_a_cut_by_a_filter_in_capitals(endpoint: Endpoint, load: Load, reason: str) -> None:
    endpoint.script.append(events(text("Par", reason)))
    assert "was cut off by the endpoint" in (await failure(await load()))[0]


async def test_the_old_function_call(endpoint: Endpoint, load: Load) -> None:
    pieces = [{"name": "weather", "arguments": ""}, {"arguments": '{"city":'}, {"arguments": ' "Paris"}'}]
    chunks = [{"choices": [{"delta": {"function_call": piece}}]} for piece in pieces]
    endpoint.script.append(events(*chunks, {"choices": [{"delta": {}, "finish_reason": "function_call"}]}))
    answer = await ask(await load(), Prompt((Message("user", "Weather?"),), tools=(TOOL,)))
    [call] = answer.tool_calls
    assert (call.name, call.arguments, answer.finish_reason) == ("weather", '{"city": "Paris"}', "tool_calls")
    assert call.id


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        (["Hi \ud83d", "\ude00!"], "Hi 😀!"),
        (["\ud83d", "", "\ude00"], "😀"),
        (["a \ud83d", "b"], "a \ufffdb"),
        (["a \ud83d"], "a \ufffd"),
        (["\ude00", "\ud83d", "\ud83d", "\ude00"], "\ufffd\ufffd😀"),
    ],
)
async def test_halves_of_a_pair_in_two_chunks(endpoint: Endpoint, load: Load, pieces: list[str], whole: str) -> None:
    endpoint.script.append(events(*map(text, pieces), text("", "stop")))
    deltas: list[str] = []
    async for item in (await load()).stream(chat(QUESTION), Meter()):
        if isinstance(item, Delta):
            deltas.append(item.text)
        else:
            assert item.text == whole
    assert "".join(deltas) == whole
