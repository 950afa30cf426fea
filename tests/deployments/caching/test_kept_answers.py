"""Answers that are kept: equal to what was put, no older than their time, within their memory."""

import gc
import tracemalloc
from dataclasses import replace
from hashlib import sha256

from serve_app.common.bounded_store import StoreLimits
from serve_app.core.types.answer import Generation, TokenLogprob
from serve_app.core.types.outcome import Cached, Call, Outcome, TierResult
from serve_app.core.types.policy import Decision
from serve_app.deployments.caching.kept_answers import KeptAnswers
from serve_app.signals import TOKEN_SIGNALS, confidence
from tests.core.scripted import TARGET, TIER


def outcome_of(text: str) -> Outcome:
    alternatives = (TokenLogprob("x", -1.0), TokenLogprob("y", -2.0))
    answer = Generation(text, "stop", 10, 2, (TokenLogprob(text[:3], -0.25, alternatives),), latency_s=0.5)
    result = TierResult(TARGET, (Call("t", answer),), Decision(True, "last_tier", selected=0), elapsed_s=0.5)
    return Outcome(answer, "t", (result,), 0.5)


def key_of(number: int) -> bytes:
    return sha256(str(number).encode()).digest()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_kept_answer_is_the_same_marked_with_its_age() -> None:
    clock = Clock()
    store = KeptAnswers(StoreLimits(10, 100_000, 60.0), clock)
    outcome = outcome_of("Paris")
    store.put(key_of(1), outcome)
    clock.now = 12.5
    same = store.get(key_of(1))
    assert same is not None
    assert (same.answer, same.tiers, same.cached) == (outcome.answer, outcome.tiers, Cached(12.5))
    assert store.get(key_of(1)) is not None
    assert store.get(key_of(2)) is None
    clock.now = 60.0
    assert store.get(key_of(1)) is None


def test_a_tier_with_token_confidence_can_be_kept() -> None:
    tier = replace(TIER, confidence=confidence(TOKEN_SIGNALS["chow_avg"]))
    answer = outcome_of("Paris").answer
    store = KeptAnswers(StoreLimits(10, 100_000, 60.0))
    result = TierResult(tier, (Call("a", answer), Call("b", answer)), Decision(True, "confident", selected=0))
    store.put(key_of(1), Outcome(answer, "a", (result,), 0.5))
    assert store.get(key_of(1)) is not None


def test_the_memory_of_kept_answers_stays_within_their_bytes() -> None:
    limit = 200_000
    store = KeptAnswers(StoreLimits(100_000, limit, 60.0))
    store.put(key_of(0), outcome_of("0"))  # what is imported or cached on the way is not the answers'
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(600):
            store.put(key_of(number), outcome_of(f"{number} " + "x" * (number % 7) * 100))
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.5 * limit < used < 1.2 * limit  # other threads allocate, too
    assert store.get(key_of(0)) is None
    assert store.get(key_of(599)) is not None
