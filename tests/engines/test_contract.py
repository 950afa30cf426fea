"""What every engine must do. To add an engine: one line in `ENGINES` and its fixtures."""

import asyncio
import functools
import multiprocessing
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace

import pytest

from serve_app.core.types.answer import Delta, Generation
from serve_app.core.types.prompt import Prompt
from serve_app.engines import Engine, Meter
from serve_app.engines.seq2seq.engine import Seq2SeqEngine
from serve_app.errors import ContextTooLongError, EngineError
from tests.patience import PATIENCE_S

from .asking import active, chat, generate, idle, raw, stream, until
from .conftest import load_llama_cpp, load_replay, load_seq2seq, load_vllm

pytestmark = pytest.mark.asyncio(loop_scope="session")

Load = Callable[..., Awaitable[Engine]]

ENGINES = [
    "replay",
    "openai_api",
    "seq2seq",
    pytest.param("llama", marks=pytest.mark.models),
    pytest.param("vllm", marks=pytest.mark.vllm),
]
SLOTS = 2

RAW_QUESTION = "The capital of France is"
QUESTION = "What is the capital of France? Answer in one word."
RIDDLE = "Think hard: what is the capital of France?"
STORY = "Tell me a long story about a dog."
LONG_PROMPT = "filler " * 1400  # llama.cpp needs seconds to read it; the replay engine pretends to
PARTY = "Repeat: 你好 世界 🎉🚀 你好 世界 🎉🚀 你好"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["replay", "openai_api", pytest.param("llama", marks=pytest.mark.models)])
def thinker(request: pytest.FixtureRequest) -> Engine:
    """Return a model that thinks before it answers."""
    return request.getfixturevalue("thinking_llama" if request.param == "llama" else request.param)


@pytest.fixture(params=ENGINES)
def fresh(request: pytest.FixtureRequest) -> Load:
    """Return a loader of engines that a test may close."""
    if request.param == "replay":
        return load_replay
    if request.param == "openai_api":
        return request.getfixturevalue("fresh_openai_api")
    if request.param == "seq2seq":
        return functools.partial(load_seq2seq, request.getfixturevalue("tiny_t5"))
    if request.param == "vllm":
        return functools.partial(load_vllm, request.getfixturevalue("smollm2_folder"))
    return functools.partial(load_llama_cpp, request.getfixturevalue("smollm2"))


@pytest.mark.parametrize(("make", "text"), [(chat, QUESTION), (raw, RAW_QUESTION)])
@pytest.mark.parametrize("logprobs", [False, True])
async def test_generate_equals_the_stream(
    engine: Engine, make: Callable[..., Prompt], text: str, logprobs: bool
) -> None:
    prompt = make(text, max_tokens=12, temperature=0.0, logprobs=logprobs)
    answer = await generate(engine, prompt)
    deltas, streamed = await stream(engine, prompt)
    assert answer.text
    assert replace(streamed, latency_s=0, first_token_s=0) == replace(answer, latency_s=0, first_token_s=0)
    assert len(deltas) > 1
    counts = [delta.completion_tokens for delta in deltas]
    assert counts == sorted(counts)
    assert counts[0] >= 1
    assert all(delta.prompt_tokens == answer.prompt_tokens > 0 for delta in deltas)


async def test_latencies_are_measured(engine: Engine) -> None:
    for answer in (
        await generate(engine, chat(STORY, max_tokens=8)),
        (await stream(engine, chat(STORY, max_tokens=8)))[1],
    ):
        assert answer.first_token_s is not None
        assert 0 <= answer.first_token_s < answer.latency_s


async def test_max_tokens(engine: Engine) -> None:
    answer = await generate(engine, chat(STORY, max_tokens=5))
    assert (answer.finish_reason, answer.completion_tokens) == ("length", 5)
    shorter = await generate(engine, chat(STORY, max_tokens=1))
    assert (shorter.finish_reason, shorter.completion_tokens) == ("length", 1)
    assert answer.text.startswith(shorter.text)


async def test_the_model_stops_by_itself(engine: Engine) -> None:
    answer = await generate(engine, chat(QUESTION))
    assert answer.finish_reason == "stop"


async def test_stop_strings(engine: Engine) -> None:
    full = await generate(engine, chat(STORY, max_tokens=16, logprobs=True))
    middle = full.text[len(full.text) // 2 :][:6]
    for stop in [(middle,), ("no such text", middle)]:
        prompt = chat(STORY, max_tokens=16, stop=stop, logprobs=True)
        answer = await generate(engine, prompt)
        assert answer.text == full.text.partition(middle)[0]
        assert answer.finish_reason == "stop"
        assert 0 < answer.completion_tokens <= full.completion_tokens
        if answer.logprobs is not None:
            assert "".join(entry.token for entry in answer.logprobs).startswith(answer.text)
        assert (await stream(engine, prompt))[1].text == answer.text
    await idle(engine)


async def test_text_held_back_for_a_stop_string_is_not_lost(engine: Engine) -> None:
    full = await generate(engine, chat(STORY, max_tokens=8))
    prompt = chat(STORY, max_tokens=8, stop=(full.text[-3:] + "never said",))
    assert (await generate(engine, prompt)).text == full.text
    _, streamed = await stream(engine, prompt)
    assert (streamed.text, streamed.finish_reason) == (full.text, "length")


async def test_a_seed_repeats_the_answer(engine: Engine) -> None:
    prompt = chat(STORY, max_tokens=12, temperature=1.0, top_p=0.9, seed=7)
    assert (await generate(engine, prompt)).text == (await generate(engine, prompt)).text


async def test_logprobs_only_when_asked_for(engine: Engine) -> None:
    assert (await generate(engine, chat(QUESTION))).logprobs is None
    answer = await generate(engine, chat(QUESTION, logprobs=True))
    assert answer.logprobs
    assert "".join(entry.token for entry in answer.logprobs) == answer.text
    assert all(entry.logprob <= 0 for entry in answer.logprobs)


async def test_unicode(engine: Engine) -> None:
    prompt = raw(PARTY, max_tokens=24)
    deltas, streamed = await stream(engine, prompt)
    assert any(ord(character) > 0x2000 for character in streamed.text)
    assert all("\ufffd" not in delta.text for delta in deltas)
    assert (await generate(engine, prompt)).text == streamed.text


@pytest.mark.parametrize("logprobs", [False, True])
async def test_thoughts_are_no_part_of_the_text(thinker: Engine, logprobs: bool) -> None:
    """All are asked of engines whose model writes its thoughts first, each in its own way."""
    prompt = chat(RIDDLE, max_tokens=64, temperature=0.0, logprobs=logprobs, max_reasoning_tokens=8)
    answer = await generate(thinker, prompt)
    assert answer.reasoning
    assert "think>" not in answer.reasoning + answer.text
    assert answer.text == answer.text.lstrip()
    assert 0 < answer.reasoning_tokens <= answer.completion_tokens
    deltas, streamed = await stream(thinker, prompt)
    assert replace(streamed, latency_s=0, first_token_s=0) == replace(answer, latency_s=0, first_token_s=0)
    assert deltas[0].reasoning
    if answer.logprobs is not None:
        assert "".join(entry.token for entry in answer.logprobs) == answer.text


async def test_thoughts_keep_their_limit(thinker: Engine) -> None:
    marks = 8  # tokens, which some engines count
    answer = await generate(thinker, chat(RIDDLE, max_tokens=64, max_reasoning_tokens=3))
    assert 0 < answer.reasoning_tokens <= 3 + marks
    assert answer.text


async def test_an_answer_that_ends_inside_its_thoughts_is_empty(thinker: Engine) -> None:
    answer = await generate(thinker, chat(RIDDLE, max_tokens=3))
    assert answer.reasoning
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("", "length", 3)
    assert answer.reasoning_tokens == 3


async def test_stop_strings_do_not_end_thoughts(thinker: Engine) -> None:
    full = await generate(thinker, chat(RIDDLE, max_tokens=64, max_reasoning_tokens=8))
    stop = (full.reasoning[:4],)
    answer = await generate(thinker, chat(RIDDLE, max_tokens=64, max_reasoning_tokens=8, stop=stop))
    assert answer.reasoning == full.reasoning


async def test_more_requests_than_slots(engine: Engine) -> None:
    before = engine.counters()
    answers = await asyncio.gather(*(generate(engine, chat(STORY, max_tokens=6)) for _ in range(2 * SLOTS + 1)))
    assert [answer.completion_tokens for answer in answers] == [6] * len(answers)
    after = await idle(engine)
    assert after.requests - before.requests == len(answers)
    assert after.prompt_tokens - before.prompt_tokens == sum(answer.prompt_tokens for answer in answers)
    assert after.completion_tokens - before.completion_tokens == sum(answer.completion_tokens for answer in answers)


async def consume(items: AsyncGenerator[Delta | Generation, None]) -> None:
    async for _ in items:
        pass


@pytest.mark.parametrize("how", ["generate", "stream"])
@pytest.mark.parametrize("when", ["before the first token", "after it"])
async def test_cancelling_frees_the_slot(engine: Engine, how: str, when: str) -> None:
    before, meter = await idle(engine), Meter()
    prompt = chat(LONG_PROMPT) if when == "before the first token" else chat(STORY, max_tokens=400)
    work = engine.generate(prompt, meter) if how == "generate" else consume(engine.stream(prompt, meter))
    task = asyncio.ensure_future(work)
    if when == "after it":
        await until(lambda: meter.completion_tokens >= 3)
    else:
        await active(engine, 1)
        await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    charged = replace(meter)
    after = await idle(engine)
    assert meter == charged, "the meter is final when the error leaves"
    assert meter.completion_tokens == 0 if when == "before the first token" else 3 <= meter.completion_tokens < 300
    assert after.prompt_tokens - before.prompt_tokens <= meter.prompt_tokens
    # A thread that got no CPU time learns of the last tokens late.
    assert after.completion_tokens - before.completion_tokens <= meter.completion_tokens + 20
    assert (await generate(engine, chat(QUESTION, max_tokens=2))).completion_tokens == 2


async def test_closing_a_stream_frees_the_slot(engine: Engine) -> None:
    meter = Meter()
    items = engine.stream(chat(STORY, max_tokens=400), meter)
    first = await anext(items)
    assert isinstance(first, Delta)
    await items.aclose()
    assert 1 <= meter.completion_tokens < 300
    await idle(engine)


async def test_a_waiting_request_can_leave_at_once(engine: Engine) -> None:
    busy = [asyncio.create_task(engine.generate(chat(STORY, max_tokens=400), Meter())) for _ in range(SLOTS)]
    await active(engine, SLOTS)
    waiting = asyncio.create_task(engine.generate(chat(QUESTION), waiting_meter := Meter()))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert waiting_meter == Meter()
    assert not any(task.done() for task in busy)
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)
    await idle(engine)


async def test_a_prompt_that_does_not_fit(engine: Engine) -> None:
    for work in (generate, stream):
        with pytest.raises(ContextTooLongError) as caught:
            await work(engine, raw("story " * 2100))
        assert caught.value.prompt_tokens > caught.value.context_tokens == 2048
    await idle(engine)


async def test_the_answer_ends_where_the_context_does(fresh: Load) -> None:
    engine = await fresh(context_tokens=256)
    answer = await generate(engine, raw("story " * 244))
    assert answer.finish_reason == "length"
    # An encoder-decoder's prompt and answer do not share a window: each has its own.
    window = answer.completion_tokens + (0 if isinstance(engine, Seq2SeqEngine) else answer.prompt_tokens)
    assert window == pytest.approx(256, abs=1)
    await engine.close()


async def test_closing_stops_everything(fresh: Load) -> None:
    processes = set(multiprocessing.active_children())
    engine = await fresh()
    busy = [asyncio.create_task(engine.generate(chat(STORY, max_tokens=400), Meter())) for _ in range(SLOTS + 2)]
    busy.append(asyncio.create_task(consume(engine.stream(chat(STORY, max_tokens=400), Meter()))))
    await active(engine, SLOTS)
    await asyncio.sleep(0.1)
    await asyncio.wait_for(engine.close(), PATIENCE_S)
    assert set(multiprocessing.active_children()) == processes, "though tracebacks of what failed name the engine"
    results = await asyncio.gather(*busy, return_exceptions=True)
    assert [type(result) for result in results] == [EngineError] * len(busy)
    assert engine.counters().active == 0
    with pytest.raises(EngineError, match="closed"):
        await engine.generate(chat(QUESTION), Meter())
    await engine.close()
