"""Text out of tokens, and where an answer ends."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    ByT5Tokenizer,
)

from serve_app.engines.seq2seq.call import Detokeniser
from tests.engines import tiny_seq2seq
from tests.engines.asking import generate, raw, stream
from tests.engines.conftest import load_seq2seq
from tests.engines.seq2seq.prompts import PROMPTS, lasting

pytestmark = pytest.mark.asyncio(loop_scope="session")


def pieces(tokenizer: Any, ids: list[int]) -> list[str]:
    detokeniser = Detokeniser(tokenizer)
    return [detokeniser.feed(token) for token in ids]


BYTES = ByT5Tokenizer()

WORDS = tiny_seq2seq.tokenizer()


async def test_characters_of_several_tokens() -> None:
    """One token a byte."""
    tokenizer = ByT5Tokenizer()
    ids = tokenizer("é 🎉!", add_special_tokens=False)["input_ids"]
    assert pieces(tokenizer, ids) == ["", "é", " ", "", "", "", "🎉", "!"]
    assert pieces(tokenizer, ids[:-2]) == ["", "é", " ", "", "", ""]


@given(st.text())
async def test_pieces_join_to_the_text(text: str) -> None:
    text = text.replace("\ufffd", "")
    shown = pieces(BYTES, BYTES(text, add_special_tokens=False)["input_ids"])
    assert "".join(shown) == text
    assert not any("\ufffd" in piece for piece in shown)


@given(st.lists(st.integers(0, len(WORDS) - 1), max_size=20))
async def test_pieces_join_to_the_decoded_tokens(ids: list[int]) -> None:
    assert "".join(pieces(WORDS, ids)) == WORDS.decode(ids, skip_special_tokens=True)


async def test_an_answers_time_has_no_queue_in_it(tiny_t5: Path) -> None:
    engine = await load_seq2seq(tiny_t5, slots=1)
    long = await lasting(engine, raw("Hello", max_tokens=400, temperature=3.0), 60)
    first, second = await asyncio.gather(generate(engine, long), generate(engine, raw("Hello", max_tokens=1)))
    assert second.first_token_s is not None
    assert second.first_token_s <= second.latency_s < first.latency_s
    await engine.close()


async def test_answers_end_at_the_end_token_and_it_is_counted(tiny_t5: Path) -> None:
    engine = await load_seq2seq(tiny_t5)
    deltas, answer = await stream(engine, raw(PROMPTS[0], logprobs=True))
    assert [delta.text for delta in deltas] == ["It", " is", " Paris."]
    assert [entry.token for entry in answer.logprobs or ()] == ["It", " is", " Paris."]
    assert (answer.completion_tokens, answer.finish_reason) == (4, "stop")
    shorter = await generate(engine, raw(PROMPTS[0], max_tokens=3))
    assert (shorter.text, shorter.finish_reason) == ("It is Paris.", "length")
    await engine.close()
