"""A lexical signal on real Ray Serve decides in place of one whose scorer fails, and the record says so."""

from typing import Any

import openai
import pytest

from tests.serve.replayed.conftest import STAND_IN

pytestmark = pytest.mark.serve

FAILED = "The bleurt model returned numbers that are not finite; try dtype 'float32'."


async def record(client: openai.AsyncOpenAI, question: str, model: str = "stood-in") -> dict[str, Any]:
    messages: Any = [{"role": "user", "content": question}]
    response = await client.chat.completions.create(model=model, messages=messages)
    decided: dict[str, Any] = response.model_extra["cascade"]
    return decided


@pytest.mark.parametrize(
    ("question", "agreement", "answered_by", "reason"),
    [
        ("Are they scored alike?", 0.75, "first", "lexical_agreement"),  # 3 of 4 words in common
        ("Are they scored apart?", 0.0, "target", "lexical_disagreement"),
    ],
)
async def test_the_stand_in_decides_while_the_scorer_fails(
    client: openai.AsyncOpenAI, question: str, agreement: float, answered_by: str, reason: str
) -> None:
    decided = await record(client, question)
    assert (decided["answered_by"], decided["reason"]) == (answered_by, reason)
    tier = decided["tiers"][0]
    assert (tier["signal"], tier["instead_of"], tier["scorer_error"]) == (STAND_IN["signal"], "bleurt", FAILED)
    assert (tier["agreement"], tier["threshold"], tier["reason"]) == (agreement, STAND_IN["threshold"], reason)


async def test_without_a_stand_in_it_is_deferred(client: openai.AsyncOpenAI) -> None:
    decided = await record(client, "Are they scored alike?", "bleurt")
    assert (decided["answered_by"], decided["reason"]) == ("target", "scorer_failed")
    assert (decided["tiers"][0]["signal"], decided["tiers"][0]["scorer_error"]) == ("bleurt", FAILED)


async def test_what_the_scorer_can_compare_it_decides_itself(client: openai.AsyncOpenAI) -> None:
    decided = await record(client, "Capital of Peru?")
    tier = decided["tiers"][0]
    assert (decided["answered_by"], decided["reason"], tier["signal"]) == ("first", "agreement", "bleurt")
    assert {"instead_of", "scorer_error"}.isdisjoint(tier)
