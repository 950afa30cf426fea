"""Encoder-decoders of three families: every answer is compared with what transformers makes of it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from serve_app.core.types.answer import Generation
from serve_app.core.types.prompt import Prompt
from serve_app.engines import Engine, Meter
from serve_app.errors import EngineError
from tests.engines.asking import generate, raw, until
from tests.engines.conftest import load_seq2seq
from tests.engines.seq2seq.conftest import Reference
from tests.engines.seq2seq.prompts import PROMPTS, TOKENS, untimed

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def expected(reference: Reference) -> list[list[int]]:
    """Return the greedy answers to the prompts, as tokens."""
    return [reference.tokens(text) for text in PROMPTS]


async def together(engine: Engine, prompts: list[Prompt]) -> list[Generation]:
    """Return the answers to prompts that join one after the other, each while the earlier ones are decoded."""
    tasks = []
    for prompt in prompts:
        meter = Meter()
        tasks.append(asyncio.create_task(engine.generate(prompt, meter)))
        await until(lambda meter=meter: meter.completion_tokens >= 2)
    return await asyncio.gather(*tasks)


async def test_greedy_answers_and_logprobs_are_transformers_own(
    engine: Engine, reference: Reference, expected: list[list[int]]
) -> None:
    prompts = [raw(text, max_tokens=TOKENS, temperature=0.0, logprobs=True) for text in PROMPTS]
    alone = [await generate(engine, prompt) for prompt in prompts]
    at_once = await asyncio.gather(*(generate(engine, prompt) for prompt in prompts))
    staggered = await together(engine, prompts)
    for text, tokens, *answers in zip(PROMPTS, expected, alone, at_once, staggered, strict=True):
        ended = tokens[-1] == reference.model.generation_config.eos_token_id
        shown = tokens[:-1] if ended else tokens
        logprobs = reference.logprobs(text, tokens)[: len(shown)]
        for answer in answers:
            assert answer.text == reference.tokenizer.decode(tokens, skip_special_tokens=True)
            assert answer.prompt_tokens == len(reference.tokenizer(text)["input_ids"])
            assert (answer.completion_tokens, answer.finish_reason) == (len(tokens), "stop" if ended else "length")
            assert answer.logprobs is not None
            assert [entry.logprob for entry in answer.logprobs] == pytest.approx(logprobs, abs=1e-5)
            assert "".join(entry.token for entry in answer.logprobs) == answer.text


async def test_the_answers_differ(expected: list[list[int]]) -> None:
    """Else the comparisons above would show little."""
    assert len({tuple(answer) for answer in expected}) >= 4
    assert max(len(set(answer)) for answer in expected) >= 5


async def test_samples_do_not_depend_on_company(engine: Engine) -> None:
    prompts = [
        raw(text, max_tokens=TOKENS, temperature=1.5, top_p=0.95, seed=seed, logprobs=True)
        for text, seed in zip(PROMPTS, range(20, 30), strict=False)
    ]
    alone = [await generate(engine, prompt) for prompt in prompts]
    assert [untimed(answer) for answer in await together(engine, prompts)] == [untimed(a) for a in alone]
    reseeded = [
        await generate(engine, replace(p, sampling=replace(p.sampling, seed=p.sampling.seed + 100))) for p in prompts
    ]
    assert [answer.text for answer in reseeded] != [answer.text for answer in alone]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
async def test_sixteen_bits(tiny_t5: Path, dtype: str) -> None:
    engine = await load_seq2seq(tiny_t5, dtype=dtype)
    answer = await generate(engine, raw(PROMPTS[0], logprobs=True))
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("It is Paris.", "stop", 4)
    full = await load_seq2seq(tiny_t5)
    exact = await generate(full, raw(PROMPTS[0], logprobs=True))
    values = [[entry.logprob for entry in a.logprobs or ()] for a in (answer, exact)]
    assert values[0] == pytest.approx(values[1], abs=0.05)
    assert values[0] != values[1]
    await engine.close()
    await full.close()


async def test_a_closed_engine_still_counts(tiny_t5: Path) -> None:
    engine = await load_seq2seq(tiny_t5)
    await generate(engine, raw(PROMPTS[0]))
    await engine.close()
    assert engine.counters().requests == 1
    with pytest.raises(EngineError, match="The model was closed"):
        await generate(engine, raw("Hello"))
