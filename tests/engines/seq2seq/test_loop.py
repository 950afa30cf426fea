"""Requests that leave or break while others are being decoded."""

import asyncio
from pathlib import Path

import pytest
from transformers import (
    T5Config,
    T5ForConditionalGeneration,
)

from serve_app.core.types.prompt import Prompt
from serve_app.engines import Engine, Meter
from serve_app.engines.seq2seq.loop import DecodingLoop
from serve_app.engines.seq2seq.model import LoadedModel
from serve_app.errors import EngineError
from tests.engines import tiny_seq2seq
from tests.engines.asking import generate, idle, raw, until
from tests.engines.conftest import load_seq2seq
from tests.engines.seq2seq.prompts import PROMPTS, lasting, untimed

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_request_that_breaks_the_model_breaks_no_other(tmp_path: Path) -> None:
    words = tiny_seq2seq.tokenizer()
    vocab_size = words.convert_tokens_to_ids("▁Paris.") + 1
    sizes = {**tiny_seq2seq.SIZES, "num_layers": 1}
    weights = tiny_seq2seq.save(T5ForConditionalGeneration(T5Config(vocab_size=vocab_size, **sizes)), tmp_path)
    engine = await load_seq2seq(weights)
    hello = await lasting(engine, raw("Hello", max_tokens=400, temperature=1.0), 50)
    before = await idle(engine)
    good = asyncio.create_task(generate(engine, hello))
    await until(lambda: engine.counters().completion_tokens > before.completion_tokens + 2)
    with pytest.raises(EngineError, match="The model failed: IndexError"):
        await generate(engine, raw("filler"))  # no such row in the embeddings
    await good
    await engine.close()


@pytest.mark.parametrize("error", [ZeroDivisionError, AttributeError, AssertionError, MemoryError])
async def test_whatever_one_request_breaks_the_others_go_on(
    tiny_t5: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    engine = await load_seq2seq(tiny_t5)

    def tokens(_: LoadedModel, prompt: Prompt) -> list[int]:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(LoadedModel, "tokens", tokens)
        with pytest.raises(EngineError, match=f"The model failed: {error.__name__}"):
            await generate(engine, raw("Hello"))
    assert (await generate(engine, raw(PROMPTS[0]))).text == "It is Paris."
    await engine.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_engine_whose_thread_broke_is_not_healthy(tiny_t5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve asks for the counters with every health check, and replaces a replica that fails it."""
    engine = await load_seq2seq(tiny_t5)

    def broken(_: DecodingLoop) -> None:
        raise RuntimeError("no way on")

    monkeypatch.setattr(DecodingLoop, "_read", broken)
    for _ in range(2):  # the request that was there, and one that comes later
        with pytest.raises(EngineError, match=r"The decoding thread broke: RuntimeError\('no way on'\)"):
            await generate(engine, raw("Hello"))
    with pytest.raises(EngineError, match="The decoding thread broke"):
        engine.counters()
    await engine.close()


async def test_cancelling_one_leaves_the_others_as_they_are(engine: Engine) -> None:
    def endless(text: str) -> Prompt:
        # Sampled so hot that it hardly ever ends, whatever the model.
        return raw(text, max_tokens=128, temperature=3.0, seed=5, logprobs=True)

    neighbours = [endless(text) for text in PROMPTS[:3]]
    alone = [await generate(engine, prompt) for prompt in neighbours]
    long = await lasting(engine, endless("story " * 100), 128)
    meter = Meter()
    victim = asyncio.create_task(engine.generate(long, meter))
    tasks = [asyncio.create_task(engine.generate(prompt, Meter())) for prompt in neighbours]
    await until(lambda: meter.completion_tokens >= 3)
    victim.cancel()
    with pytest.raises(asyncio.CancelledError):
        await victim
    assert meter.completion_tokens < 128
    assert [untimed(answer) for answer in await asyncio.gather(*tasks)] == [untimed(answer) for answer in alone]
    await idle(engine)
