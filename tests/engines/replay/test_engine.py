"""The replay engine: which answer, cut how, and when."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.core.tools import NamedTool, Tool
from serve_app.core.types.answer import TokenLogprob
from serve_app.core.types.prompt import Message, Prompt, ToolCall
from serve_app.engines import Engine, Meter, ReplayConfig, load_engine
from serve_app.errors import ContextTooLongError, EngineError
from tests.engines.asking import active, chat, generate, idle, raw, stream


async def load(**values: Any) -> Engine:
    return await load_engine(ReplayConfig.model_validate({"engine": "replay"} | values))


def write(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return path


async def test_scripts_come_before_records_and_the_default(tmp_path: Path) -> None:
    records = write(
        tmp_path / "records.jsonl",
        {"prompt": "What is 2+2?", "text": "5"},
        {"prompt": "What is 2+2?", "text": "4"},
        {"prompt": "What is 3+3?", "text": "6"},
    )
    answers = [{"contains": "3+3", "text": "six"}, {"contains": "3", "text": "three"}]
    engine = await load(records=records, answers=answers, default="Who knows?")
    for prompt, text in [
        ("What is 2+2?", "4"),
        ("What is 3+3?", "six"),
        ("Say 3", "three"),
        ("What is 2+2", "Who knows?"),
    ]:
        assert (await generate(engine, chat(prompt))).text == text
        assert (await generate(engine, raw(prompt))).text == text


async def test_the_last_user_message_counts() -> None:
    engine = await load(answers=[{"contains": "new", "text": "yes"}])
    messages = (Message("user", "old"), Message("assistant", "no"), Message("user", "new"), Message("system", "x"))
    assert (await generate(engine, Prompt(messages=messages))).text == "yes"


async def test_an_unknown_prompt_is_an_error() -> None:
    engine = await load()
    with pytest.raises(EngineError, match="no answer to this prompt"):
        await engine.generate(chat("hello"), Meter())


async def test_recorded_counts_and_logprobs(tmp_path: Path) -> None:
    logprobs = [["Par", -0.5], ["is.", -0.25]]
    record = {
        "prompt": "Capital?",
        "text": "Paris.",
        "prompt_tokens": 12,
        "completion_tokens": 3,
        "logprobs": logprobs,
        "finish_reason": "length",
    }
    engine = await load(records=write(tmp_path / "records.jsonl", record))
    answer = await generate(engine, chat("Capital?", logprobs=True, seed=1, temperature=2.0, top_p=0.1))
    assert (answer.text, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == (
        "Paris.",
        "length",
        12,
        3,
    )
    assert answer.logprobs == (TokenLogprob("Par", -0.5), TokenLogprob("is.", -0.25))
    deltas, _ = await stream(engine, chat("Capital?"))
    assert [(delta.text, delta.completion_tokens) for delta in deltas] == [("Par", 2), ("is.", 3)]
    cut = await generate(engine, chat("Capital?", logprobs=True, max_tokens=1))
    assert (cut.text, cut.finish_reason, cut.completion_tokens) == ("Par", "length", 1)
    assert cut.logprobs == (TokenLogprob("Par", -0.5),)


@pytest.mark.parametrize(
    ("text", "sampling", "expected"),
    [
        ("one two three", {}, ("one two three", "stop", 3)),
        ("one two three\n", {}, ("one two three\n", "stop", 3)),
        ("one two three", {"max_tokens": 2}, ("one two", "length", 2)),
        ("one two three", {"max_tokens": 3}, ("one two three", "stop", 3)),
        ("one two three", {"stop": (" two",)}, ("one", "stop", 2)),
        ("one two three", {"stop": ("three",), "max_tokens": 2}, ("one two", "length", 2)),
        ("one two three", {"stop": ("e t",)}, ("on", "stop", 2)),
        ("one two three", {"stop": ("three more",)}, ("one two three", "stop", 3)),
        ("", {}, ("", "stop", 0)),
        (" \n", {}, (" \n", "stop", 1)),
    ],
)
async def test_cutting(text: str, sampling: dict[str, Any], expected: tuple[str, str, int]) -> None:
    engine = await load(default=text)
    answer = await generate(engine, chat("hello", **sampling))
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == expected
    _, streamed = await stream(engine, chat("hello", **sampling))
    assert (streamed.text, streamed.finish_reason, streamed.completion_tokens) == expected


async def test_no_logprobs_where_none_are_recorded() -> None:
    engine = await load(default="one two")
    assert (await generate(engine, chat("hello", logprobs=True))).logprobs is None


@pytest.mark.parametrize("token_s", [0.0, 0.001])
async def test_a_scripted_failure(token_s: float) -> None:
    engine = await load(answers=[{"contains": "", "error": "The model is on fire."}], token_s=token_s)
    meter = Meter()
    with pytest.raises(EngineError, match=r"^The model is on fire\.$"):
        await engine.generate(chat("one two"), meter)
    assert meter == Meter(prompt_tokens=2)
    with pytest.raises(EngineError, match="on fire"):
        await stream(engine, chat("one two"))
    assert (await idle(engine)).prompt_tokens == 4


async def test_the_context() -> None:
    engine = await load(default="a b c d", context_tokens=3)
    with pytest.raises(ContextTooLongError):
        await engine.generate(chat("one two three"), Meter())
    answer = await generate(engine, chat("one"))
    assert (answer.text, answer.finish_reason) == ("a b", "length")


async def test_latencies() -> None:
    slow = {"contains": "slow", "text": "a b c", "first_token_s": 0.2, "token_s": 0.1}
    engine = await load(answers=[slow], default="a b c")
    for answer in (await generate(engine, chat("slow")), (await stream(engine, chat("slow")))[1]):
        assert answer.first_token_s is not None
        assert 0.19 < answer.first_token_s < answer.latency_s
        assert answer.latency_s > 0.39
    assert (await generate(engine, chat("quick"))).latency_s == 0.0


async def test_without_latencies_nothing_is_waited_for() -> None:
    engine = await load(default="a b c")
    coroutine = engine.generate(chat("hello"), Meter())
    with pytest.raises(StopIteration) as finished:
        coroutine.send(None)
    assert finished.value.value.text == "a b c"


async def test_requests_beyond_the_slots_wait() -> None:
    engine = await load(default="a", first_token_s=0.1, slots=2)
    tasks = [asyncio.create_task(generate(engine, chat("hello"))) for _ in range(5)]
    await active(engine, 2)
    assert engine.counters().requests == 2
    await asyncio.gather(*tasks)
    counters = await idle(engine)
    assert (counters.requests, counters.prompt_tokens, counters.completion_tokens) == (5, 5, 5)


async def test_records_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"cannot use its records: The file '.*nowhere' cannot be read: No such file"):
        await load(records=tmp_path / "nowhere")
    path = write(tmp_path / "records.jsonl", {"prompt": "a", "text": "b"}, {"prompt": "a", "txet": "b"})
    with pytest.raises(EngineError, match=r"records\.jsonl:2: txet: Extra inputs are not permitted"):
        await load(records=path)


async def test_a_record_ends_with_its_line_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    records = [{"prompt": "a", "text": "one\u2028two"}, {"prompt": "b", "text": "one\u0085two"}]
    first, second = (json.dumps(record, ensure_ascii=False) for record in records)
    path.write_bytes(f"\ufeff{first}\r\n\n{second}\n \n".encode())
    engine = await load(records=path)
    assert (await generate(engine, chat("a"))).text == "one\u2028two"
    assert (await generate(engine, chat("b"))).text == "one\u0085two"
    path.write_bytes(f"{first}\n\n{{}}\n".encode())
    with pytest.raises(EngineError, match=r"records\.jsonl:3: prompt: Field required"):
        await load(records=path)
    path.write_bytes(b'{"prompt": "\xff", "text": "b"}')
    with pytest.raises(EngineError, match=r"records\.jsonl:1: not UTF-8 at byte 13"):
        await load(records=path)
    path.write_bytes(b'{"prompt": "a", "text": "b \\ud83d"}')
    with pytest.raises(EngineError, match=r"records\.jsonl:1: text: has half of a surrogate pair"):
        await load(records=path)


@pytest.mark.parametrize(
    "answer",
    [
        {"contains": "a"},
        {"contains": "a", "text": "b", "error": "c"},
        {"contains": "a", "tool_calls": [{"name": "f"}], "error": "c"},
        {"contains": "a", "tool_calls": []},
        {"contains": "a", "text": "b", "colour": "c"},
        {"text": "b"},
    ],
)
def test_answers_that_make_no_sense(answer: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ReplayConfig.model_validate({"engine": "replay", "answers": [answer]})


CALL = {"contains": "", "tool_calls": [{"name": "f", "arguments": '{"a": 1}'}, {"name": "f", "id": "mine"}]}


async def test_scripted_calls_come_with_the_answer_and_count_as_words() -> None:
    engine = await load(answers=[CALL | {"text": "Let me look."}], token_s=0.001)
    prompt = replace(chat("hello"), tools=(Tool("f"),))
    for answer in (await generate(engine, prompt), (await stream(engine, prompt))[1]):
        assert (answer.text, answer.finish_reason, answer.completion_tokens) == (
            "Let me look.",
            "tool_calls",
            3 + 3 + 2,
        )
        assert answer.tool_calls == (ToolCall("call_1", "f", '{"a": 1}'), ToolCall("mine", "f", "{}"))


@pytest.mark.parametrize("sampling", [{"max_tokens": 7}, {"stop": ("look",)}])
async def test_calls_that_are_cut_are_left_out(sampling: dict[str, Any]) -> None:
    engine = await load(answers=[CALL | {"text": "Let me look."}])
    answer = await generate(engine, replace(chat("hello", **sampling), tools=(Tool("f"),)))
    assert (answer.tool_calls, answer.finish_reason) == ((), "length" if "max_tokens" in sampling else "stop")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "text"),
        ({"tools": (Tool("g"),)}, "text"),
        ({"tools": (Tool("g"), Tool("f"))}, "f"),
        ({"tools": (Tool("f"), Tool("g")), "tool_choice": "required"}, "f"),
        ({"tools": (Tool("f"), Tool("g")), "tool_choice": NamedTool("f")}, "f"),
        ({"response_format": "json_object"}, '{"a": 1}'),
        ({"response_format": "json_object", "tools": (Tool("f"),)}, "f"),
    ],
)
async def test_answers_that_do_not_honour_the_request_are_passed_over(fields: dict[str, Any], expected: str) -> None:
    answers = [CALL, {"contains": "", "text": "text"}, {"contains": "", "text": '{"a": 1}'}]
    answer = await generate(await load(answers=answers), replace(chat("hello"), **fields))
    assert (answer.tool_calls[0].name if answer.tool_calls else answer.text) == expected


@pytest.mark.parametrize(
    "fields", [{"tools": (Tool("g"),), "tool_choice": "required"}, {"response_format": "json_object"}]
)
async def test_no_answer_honours_the_request(fields: dict[str, Any], tmp_path: Path) -> None:
    records = write(tmp_path / "records.jsonl", {"prompt": "hello", "text": "[1]"})
    engine = await load(answers=[CALL], records=records, default="x")
    with pytest.raises(EngineError, match="no answer to this prompt"):
        await engine.generate(replace(chat("hello"), **fields), Meter())
    failing = await load(answers=[{"contains": "", "error": "On fire."}])
    with pytest.raises(EngineError, match="On fire"):
        await failing.generate(replace(chat("hello"), **fields), Meter())
