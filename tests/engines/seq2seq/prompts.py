"""Prompts for tiny encoder-decoders, and answers made comparable."""

from dataclasses import replace
from typing import Any

import pytest

from serve_app.core.types.answer import Generation
from serve_app.core.types.prompt import Prompt
from serve_app.engines import Engine
from tests.engines.asking import generate

PROMPTS = [
    "The capital of France is",
    "story " * 40,
    "Hello",
    "Tell me a long story about a dog.",
    "Repeat: 你好 世界 🎉🚀 你好 世界 🎉🚀 你好",
    "filler dog France word",
]

TOKENS = 24


def untimed(answer: Generation) -> tuple[Any, ...]:
    """Return the answer without timings and the last digits of log-probabilities."""
    assert answer.logprobs is not None
    tokens = [(entry.token, pytest.approx(entry.logprob, abs=1e-5)) for entry in answer.logprobs]
    return answer.text, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens, tokens


async def lasting(engine: Engine, prompt: Prompt, tokens: int) -> Prompt:
    """Return the prompt with a seed under which its answer has at least so many tokens."""
    for seed in range(100):
        seeded = replace(prompt, sampling=replace(prompt.sampling, seed=seed))
        if (await generate(engine, seeded)).completion_tokens >= tokens:
            return seeded
    pytest.fail(f"All answers have less than {tokens} tokens.")
