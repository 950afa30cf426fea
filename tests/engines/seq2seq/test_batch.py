"""Choosing tokens, and reading prompts in batches."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
import torch
from transformers import (
    T5Config,
    T5ForConditionalGeneration,
)

from serve_app.engines.seq2seq.batch import choose
from serve_app.errors import EngineError
from tests.engines import tiny_seq2seq
from tests.engines.asking import generate, idle, raw
from tests.engines.conftest import load_seq2seq
from tests.engines.seq2seq.prompts import PROMPTS, untimed

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Fixed(Random):
    """Always the same number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


@dataclass
class Row:
    temperature: float
    top_p: float
    random: Random


LAST = 1 - 2**-53  # the largest number that Random.random() can return


@pytest.mark.parametrize(
    ("temperature", "top_p", "uniform", "token"),
    [
        (0.0, 1.0, 0.99, 1),
        # In falling order: 0.5 (token 1), 0.3 (token 2), 0.2 (token 0)
        (1.0, 1.0, 0.0, 1),
        (1.0, 1.0, 0.49, 1),
        (1.0, 1.0, 0.51, 2),
        (1.0, 1.0, 0.79, 2),
        (1.0, 1.0, 0.81, 0),
        (1.0, 1.0, LAST, 0),
        # 0.5 is not yet 0.6, so two remain: 5/8 and 3/8
        (1.0, 0.6, 0.62, 1),
        (1.0, 0.6, 0.63, 2),
        (1.0, 0.6, LAST, 2),
        (1.0, 0.4, LAST, 1),
        (1.0, 1e-9, LAST, 1),
        # Squares: 25/38, 9/38, 4/38
        (0.5, 1.0, 0.65, 1),
        (0.5, 1.0, 0.66, 2),
        (0.5, 1.0, 0.90, 0),
        (1e-30, 1.0, LAST, 1),
    ],
)
async def test_choose(temperature: float, top_p: float, uniform: float, token: int) -> None:
    logits = torch.tensor([[0.0, 9.0, 0.0], [0.2, 0.5, 0.3]]).log()
    greedy, drawn = choose(logits, [Row(0.0, 1.0, Fixed(0)), Row(temperature, top_p, Fixed(uniform))])
    assert greedy.token == 1
    assert greedy.logprob == 0.0
    assert drawn.token == token
    assert drawn.logprob == pytest.approx([-1.6094379, -0.6931472, -1.2039728][token])  # whatever the temperature


async def test_prompts_read_in_several_goes(tiny_t5: Path) -> None:
    prompts = [raw(text, max_tokens=8, logprobs=True) for text in PROMPTS]
    engine = await load_seq2seq(tiny_t5, slots=8)
    narrow = await load_seq2seq(tiny_t5, slots=8, batch_tokens=16)
    wide = await asyncio.gather(*(generate(engine, prompt) for prompt in prompts))
    several = await asyncio.gather(*(generate(narrow, prompt) for prompt in prompts))
    assert [untimed(answer) for answer in wide] == [untimed(answer) for answer in several]
    await engine.close()
    await narrow.close()


async def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    model = T5ForConditionalGeneration(T5Config(vocab_size=400, **{**tiny_seq2seq.SIZES, "num_layers": 1}))
    model.decoder.final_layer_norm.weight = torch.nn.Parameter(torch.full((64,), torch.nan))
    engine = await load_seq2seq(tiny_seq2seq.save(model, tmp_path))
    for temperature in (0.0, 1.0):
        with pytest.raises(EngineError, match="not finite; try dtype bfloat16 or float32"):
            await generate(engine, raw("Hello", temperature=temperature))
    await idle(engine)
    await engine.close()
