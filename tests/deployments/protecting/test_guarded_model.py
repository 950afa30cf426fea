"""A guarded model is asked only while it has room and works."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from serve_app.config.services import CircuitBreakerConfig
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.prompt import Message, Prompt
from serve_app.deployments.protecting.circuit_breaker import CircuitBreaker
from serve_app.deployments.protecting.guarded_model import GuardedModel, works
from serve_app.deployments.protecting.load import Load
from serve_app.planning.queues import Queue

PROMPT = Prompt((Message("user", "Hello"),))
ANSWER = Generation("Hi", "stop", 3, 1, latency_s=2.0)
HUNG = Failure("timeout", "No answer within 1 s.", 3)


class Fake:
    """Answers with what it has; with None it hangs."""

    def __init__(self, answer: Answer | None) -> None:
        self.answer = answer
        self.calls = 0

    async def generate(self, prompt: Prompt) -> Answer:
        self.calls += 1
        if self.answer is None:
            await asyncio.Event().wait()
        assert self.answer is not None
        return self.answer

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        answer = await self.generate(prompt)
        if isinstance(answer, Generation):
            yield Delta(answer.text, 3, 1)
        yield answer


def guarded(answer: Answer | None, *, slots: int = 8, waiting: int = 0) -> tuple[GuardedModel, Fake, Load]:
    fake, load = Fake(answer), Load(Queue(slots, waiting))
    return GuardedModel(fake, load, CircuitBreaker(CircuitBreakerConfig(failures=2, open_s=30))), fake, load


async def streamed(model: GuardedModel) -> list[Delta | Answer]:
    async with aclosing(model.stream(PROMPT)) as items:
        return [item async for item in items]


async def test_answers_pass_through() -> None:
    model, _, load = guarded(ANSWER)
    assert await model.generate(PROMPT) is ANSWER
    assert await streamed(model) == [Delta("Hi", 3, 1), ANSWER]
    assert load.in_progress == 0


async def test_a_full_model_is_not_asked() -> None:
    model, fake, load = guarded(None, slots=1, waiting=1)
    waiting = [asyncio.create_task(model.generate(PROMPT)) for _ in range(2)]
    await asyncio.sleep(0)
    refusal = Failure("rate_limited", "It has 2 requests, as many as may wait for it.", retry_after_s=1.0)
    assert await model.generate(PROMPT) == refusal
    assert await streamed(model) == [refusal]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (fake.calls, load.in_progress) == (2, 0)


async def test_a_place_that_was_taken_before_is_for_the_first_call() -> None:
    model, fake, load = guarded(ANSWER, slots=1)
    mine = model.with_permit(load.acquire())
    assert load.full
    assert isinstance(await model.generate(PROMPT), Failure)
    assert await mine.generate(PROMPT) is ANSWER
    assert load.in_progress == 0
    load.acquire()
    assert isinstance(await mine.generate(PROMPT), Failure)
    assert fake.calls == 1


async def test_a_model_that_keeps_failing_is_left_out() -> None:
    model, fake, _ = guarded(HUNG)
    assert await model.generate(PROMPT) == HUNG
    assert await streamed(model) == [HUNG]
    for refusal in (*await streamed(model), await model.generate(PROMPT)):
        assert isinstance(refusal, Failure)
        assert refusal.kind == "unavailable"
        assert refusal.message == "Left out after 2 failures in a row; tried again within 30 s."
        assert refusal.retry_after_s == pytest.approx(30, abs=1)
    assert fake.calls == 2


async def test_a_streamed_trial_lets_others_through_with_its_first_piece() -> None:
    now, fake = 0.0, Fake(HUNG)
    breaker = CircuitBreaker(CircuitBreakerConfig(failures=2, open_s=30), lambda: now)
    model = GuardedModel(fake, Load(Queue(8, 0)), breaker)
    assert [await model.generate(PROMPT), await model.generate(PROMPT)] == [HUNG, HUNG]
    now, fake.answer = 30.0, ANSWER
    async with aclosing(model.stream(PROMPT)) as items:
        assert await anext(items) == Delta("Hi", 3, 1)
        assert await model.generate(PROMPT) is ANSWER
    assert breaker.closed


async def test_a_call_that_is_given_up_for_its_time_is_a_failure() -> None:
    model, fake, _ = guarded(None)
    prompt = Prompt(PROMPT.messages, timeout_s=0.01)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model.generate(prompt), 0.05)
    assert isinstance(await model.generate(prompt), Failure)
    assert fake.calls == 2


async def test_clients_that_leave_are_no_failures() -> None:
    model, fake, _ = guarded(None)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model.generate(PROMPT), 0.01)
    assert fake.calls == 3


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (ANSWER, True),
        (Delta("a", 1, 1), True),
        (Failure("unavailable", ""), False),
        (HUNG, False),
        (Failure("timeout", "", 3, 10_000, estimated=True), False),
        (Failure("timeout", "", 3, 40), None),  # it wrote all the while: the request asked for much
        (Failure("error", ""), False),
        (Failure("error", "", 3, 5), None),
        (Failure("invalid_output", ""), True),
        (Failure("refused", ""), True),
        (Failure("context_length", ""), True),
        (Failure("rate_limited", ""), None),
        (Failure("cancelled", ""), None),
    ],
)
def test_what_shows_that_a_model_works(item: Delta | Answer, expected: bool | None) -> None:
    assert works(item) is expected


async def test_further_calls_of_a_request_count_for_its_key() -> None:
    """A request for several answers asks its model again."""
    model, _, load = guarded(None)
    permit = load.acquire("flood")
    mine = model.with_permit(permit)
    permit.release()
    further = [asyncio.create_task(mine.generate(PROMPT)) for _ in range(3)]
    await asyncio.sleep(0)
    assert load.by_key == {"flood": 3}
    for task in further:
        task.cancel()
    await asyncio.gather(*further, return_exceptions=True)
