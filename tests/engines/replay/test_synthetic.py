"""Made-up answers, and the replay engine in a batch's time."""

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.core.types.answer import Delta, Generation
from serve_app.engines import Engine, Meter, ReplayConfig, load_engine
from serve_app.engines.replay.synthetic import SyntheticAnswers
from serve_app.errors import EngineError
from tests.engines.asking import active, chat, generate, idle, stream

FAST = {"step_s": 0.001, "sequence_s": 0.0001}


async def load(**values: Any) -> Engine:
    return await load_engine(ReplayConfig.model_validate({"engine": "replay"} | values))


def texts(agreement: float, variant: str, count: int) -> list[str]:
    synthetic = SyntheticAnswers(agreement=agreement, variant=variant, completion_tokens=3)
    return [synthetic.answer(f"prompt {number}").text for number in range(count)]


def test_models_agree_on_the_share() -> None:
    first, second = texts(0.4, "one", 1000), texts(0.4, "two", 1000)
    alike = [a == b for a, b in zip(first, second, strict=True)]
    assert sum(alike) == 398  # of 400 expected, with a standard deviation of 15
    assert all(a == b or not {*a.split()} & {*b.split()} for a, b in zip(first, second, strict=True))
    # More agreement is on more prompts, never on others.
    more = [a == b for a, b in zip(texts(0.7, "one", 1000), texts(0.7, "two", 1000), strict=True)]
    assert all(b for a, b in zip(alike, more, strict=True) if a)
    assert texts(1, "one", 50) == texts(1, "two", 50)
    assert not {*texts(0, "one", 50)} & {*texts(0, "two", 50)}
    assert len({*first}) == 1000


async def test_samples_of_one_model_agree_on_the_share_too() -> None:
    engine = await load(synthetic={"agreement": 0.4, "variant": "one", "completion_tokens": 3})

    async def sample(number: int, prompt: int) -> str:
        return (await generate(engine, chat(f"prompt {prompt}", sample=number))).text

    pairs = [(await sample(1, prompt), await sample(2, prompt)) for prompt in range(100)]
    first, second = texts(0.4, "one", 100), texts(0.4, "two", 100)
    assert [a == b for a, b in pairs] == [a == b for a, b in zip(first, second, strict=True)]


async def test_answers_have_the_length_that_was_asked_for() -> None:
    settings = {"agreement": 0.5, "variant": "a", "completion_tokens": 20, "prompt_tokens": 256}
    engine = await load(synthetic=settings, answers=[{"contains": "scripted", "text": "yes"}])
    answer = await generate(engine, chat("hello"))
    assert (answer.prompt_tokens, answer.completion_tokens, answer.finish_reason) == (256, 20, "stop")
    assert answer.text == (await generate(engine, chat("hello"))).text
    assert (await generate(engine, chat("scripted"))).text == "yes"
    assert (await generate(engine, chat("hello", max_tokens=5))).completion_tokens == 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"synthetic": {"agreement": 0.5, "variant": "a"}, "default": "x"}, "synthetic: leave it out, or default"),
        ({"batching": FAST, "default": "x", "token_s": 0.1}, "batching: leave it out, or token_s"),
        (
            {"batching": FAST, "answers": [{"contains": "", "text": "x", "first_token_s": 1}]},
            "batching: leave it out, or first_token_s",
        ),
        ({"batching": {"step_s": 0}}, "greater than 0"),
        ({"synthetic": {"agreement": 1.5, "variant": "a"}}, "less than or equal to 1"),
    ],
)
def test_configs_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ReplayConfig.model_validate({"engine": "replay"} | values)


async def test_the_batchs_own_times_are_reported() -> None:
    engine = await load(default="a b c d", batching={"step_s": 0.01, "prompt_token_s": 0.005})
    for answer in (await generate(engine, chat("one two")), (await stream(engine, chat("one two")))[1]):
        assert answer.first_token_s == pytest.approx(0.02)
        assert answer.latency_s == pytest.approx(0.05)


async def test_more_at_once_take_longer() -> None:
    engine = await load(default="a b c d e f g h i j k l", batching={"step_s": 0.001, "sequence_s": 0.01})
    (alone,) = await asyncio.gather(generate(engine, chat("x")))
    together = await asyncio.gather(*(generate(engine, chat("x")) for _ in range(4)))
    assert alone.latency_s == pytest.approx(12 * 0.011)
    assert max(answer.latency_s for answer in together) > 12 * 0.03


async def test_beyond_the_slots_requests_wait() -> None:
    engine = await load(default="a b", batching={"step_s": 0.2}, slots=2)
    tasks = [asyncio.create_task(generate(engine, chat("x"))) for _ in range(4)]
    await active(engine, 2)
    answers = sorted((await asyncio.gather(*tasks)), key=lambda answer: answer.latency_s)
    assert answers[-1].first_token_s is not None
    assert answers[-1].first_token_s > 0.4
    counters = await idle(engine)
    assert (counters.requests, counters.prompt_tokens, counters.completion_tokens) == (4, 4, 8)


async def test_what_was_generated_before_the_client_left_is_charged() -> None:
    engine = await load(default="word " * 1000, batching={"step_s": 0.005})
    meter = Meter()
    task = asyncio.create_task(engine.generate(chat("x y"), meter))
    await active(engine, 1)
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert meter.prompt_tokens == 2
    assert 1 <= meter.completion_tokens < 1000
    items = engine.stream(chat("x"), Meter())
    assert isinstance(await anext(items), Delta)
    await items.aclose()
    assert (await idle(engine)).active == 0


async def test_a_stream_counts_as_it_goes() -> None:
    engine = await load(default="a b c", batching={"step_s": 0.03})
    deltas, answer = await stream(engine, chat("x"))
    assert [(delta.text, delta.completion_tokens) for delta in deltas] == [("a", 1), (" b", 2), (" c", 3)]
    assert isinstance(answer, Generation)


async def test_errors_and_the_end() -> None:
    engine = await load(
        answers=[{"contains": "bad", "error": "On fire."}], default="word " * 1000, batching={"step_s": 1}
    )
    waiting = asyncio.create_task(engine.generate(chat("x"), Meter()))
    await active(engine, 1)
    await engine.close()
    with pytest.raises(EngineError, match="closed"):
        await waiting
    with pytest.raises(EngineError, match="closed"):
        await engine.generate(chat("x"), Meter())
    failing = await load(answers=[{"contains": "bad", "error": "On fire."}], batching=FAST)
    for ask in (generate, stream):
        with pytest.raises(EngineError, match="On fire"):
            await ask(failing, chat("bad"))
