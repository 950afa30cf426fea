"""Kept answers and shared runs, over scripted models; nothing here waits for a clock."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from serve_app.common.bounded_store import StoreLimits
from serve_app.core.running.cascade import Event
from serve_app.core.running.progress import Progress, TierStarted, merged
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.outcome import Cached, Outcome, TierResult
from serve_app.core.types.prompt import Prompt
from serve_app.deployments.caching.flights import Flights
from serve_app.deployments.caching.kept_answers import KeptAnswers
from serve_app.deployments.caching.turn import CacheResult, Turn
from tests.core.scripted import BROKEN, PROMPT, TARGET, TIER, Fake, Judge, reply

KEY = b"k"
LONG = reply("It is Paris.", 10, 4)


class Gated:
    """A model whose answer the test gives: to each call the next answer, when `answer` is called."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[Answer]] = []
        self.stopped = 0

    async def generate(self, prompt: Prompt) -> Answer:
        self.calls.append(asyncio.get_running_loop().create_future())
        try:
            return await self.calls[-1]
        except asyncio.CancelledError:
            self.stopped += 1
            raise

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        yield Delta("It ", 10, 1)
        answer = await self.generate(prompt)
        if isinstance(answer, Generation):
            yield Delta(answer.text.removeprefix("It "), 10, answer.completion_tokens)
        yield answer

    def answer(self, answer: Answer = LONG) -> None:
        self.calls[-1].set_result(answer)


@dataclass(frozen=True)
class Opened:
    """A request whose turn has begun."""

    run: Run
    turn: Turn

    def events(self) -> AsyncGenerator[Event, None]:
        return self.turn.events(self.run)


class Bench:
    """Kept answers and flights over one gated model.

    `results` are those of turns that have ended; `begun` are runs that had waited for another's in vain.
    """

    def __init__(self, ttl_s: float = 3600) -> None:
        self.now = 0.0
        self.model = Gated()
        self.begun: list[Run] = []
        self.results: list[CacheResult | None] = []
        self.answers = KeptAnswers(StoreLimits(entries=100, bytes=1_000_000, ttl_s=ttl_s), lambda: self.now)
        self.flights = Flights()

    def turn(self, key: bytes = KEY) -> Turn:
        return Turn(self.answers, self.flights, key)

    def entered(self, run: Run, key: bytes = KEY) -> Opened:
        turn = self.turn(key)
        turn.enter(lambda: self.begun.append(run))
        return Opened(run, turn)

    def open(self, key: bytes = KEY, *, stream: bool = False) -> Opened:
        return self.entered(Run(PROMPT, (TARGET,), {"t": self.model}, Judge(), stream=stream), key)

    def ask(self, key: bytes = KEY, *, stream: bool = False) -> "asyncio.Task[list[Event]]":
        return asyncio.create_task(self._events(self.open(key, stream=stream)))

    async def _events(self, request: Opened) -> list[Event]:
        outcome = None
        try:
            async with aclosing(request.events()) as events:
                received = [event async for event in events]
            outcome = received[-1]
            return received
        finally:
            self.results.append(request.turn.leave(outcome if isinstance(outcome, Outcome) else None))


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def settled() -> None:
    """Let every task run until it waits for something that only the test can give."""
    for _ in range(20):
        await asyncio.sleep(0)


def outcome_of(task: "asyncio.Task[list[Event]]") -> Outcome:
    outcome = task.result()[-1]
    assert isinstance(outcome, Outcome)
    return outcome


class TestKept:
    async def test_a_second_equal_request_asks_no_model(self, bench: Bench) -> None:
        first = bench.ask()
        await settled()
        bench.model.answer()
        await first
        bench.now = 90.0
        assert not bench.turn().leads
        second = bench.ask()
        await second
        assert len(bench.model.calls) == 1
        text, outcome = second.result()
        assert text == Delta("It is Paris.", 10, 4)
        assert isinstance(outcome, Outcome)
        assert (outcome.answer, outcome.answered_by, outcome.cached) == (LONG, "t", Cached(90.0))
        assert (outcome_of(first).cached, bench.results) == (None, ["miss", "hit"])

    async def test_the_run_of_a_kept_answer_has_neither_calls_nor_results(self, bench: Bench) -> None:
        first = bench.ask()
        await settled()
        bench.model.answer()
        await first
        request = bench.open()
        run = request.run
        async with aclosing(request.events()) as events:
            outcome = [event async for event in events][-1]
        assert isinstance(outcome, Outcome)
        assert (run.results, run.calls) == ([], [])
        assert [result.tier for result in outcome.tiers] == [TARGET]
        assert run.first_text_s is not None
        assert 0 < run.first_text_s <= outcome.total_s

    async def test_another_request_is_run(self, bench: Bench) -> None:
        first = bench.ask()
        await settled()
        bench.model.answer()
        await first
        assert bench.turn(b"other").leads
        other_task = bench.ask(b"other")
        await settled()
        bench.model.answer()
        await other_task
        assert (len(bench.model.calls), bench.results) == (2, ["miss", "miss"])

    async def test_a_kept_answer_is_forgotten_in_time(self) -> None:
        bench = Bench(ttl_s=60)
        for now in (0.0, 59.0, 60.0):
            bench.now = now
            task = bench.ask()
            await settled()
            if not task.done():
                bench.model.answer()
            await task
        assert bench.results == ["miss", "hit", "miss"]

    @pytest.mark.parametrize("answer", [BROKEN, Failure("refused", "No."), Failure("timeout", "Late.")])
    async def test_a_failure_is_not_kept(self, bench: Bench, answer: Failure) -> None:
        for _ in range(2):
            task = bench.ask()
            await settled()
            bench.model.answer(answer)
            await task
        assert (len(bench.model.calls), bench.results) == (2, ["miss", "miss"])

    async def test_an_answer_that_expires_once_its_request_has_a_turn_is_given(self) -> None:
        bench = Bench(ttl_s=60)
        first = bench.ask()
        await settled()
        bench.model.answer()
        await first
        bench.now = 59.0
        second = bench.open()
        bench.now = 60.0
        async with aclosing(second.events()) as events:
            outcome = [event async for event in events][-1]
        assert isinstance(outcome, Outcome)
        assert (outcome.cached, second.turn.leave(outcome)) == (Cached(59.0), "hit")


class TestShared:
    async def test_equal_requests_share_one_run(self, bench: Bench) -> None:
        tasks = [bench.ask(stream=number == 1) for number in range(4)]
        await settled()
        assert not bench.turn().leads
        bench.model.answer()
        await asyncio.gather(*tasks)
        assert len(bench.model.calls) == 1
        assert [outcome_of(task).cached for task in tasks] == [None, *[Cached(0.0, shared=True)] * 3]
        assert {outcome_of(task).answer for task in tasks} == {LONG}
        assert [event for event in tasks[1].result() if isinstance(event, Delta)] == [Delta("It is Paris.", 10, 4)]
        assert (sorted(bench.results), bench.begun) == (["miss", "shared", "shared", "shared"], [])

    async def test_different_requests_do_not(self, bench: Bench) -> None:
        tasks = [bench.ask(key) for key in (b"1", b"2")]
        await settled()
        for call in bench.model.calls:
            call.set_result(LONG)
        await asyncio.gather(*tasks)
        assert (len(bench.model.calls), bench.results) == (2, ["miss", "miss"])

    async def test_if_the_first_leaves_one_of_the_others_takes_its_place(self, bench: Bench) -> None:
        first, *tasks = [bench.ask() for _ in range(4)]
        await settled()
        first.cancel()
        await settled()
        assert (first.cancelled(), bench.model.stopped, len(bench.model.calls), len(bench.begun)) == (True, 1, 2, 1)
        bench.model.answer()
        await asyncio.gather(*tasks)
        assert len(bench.model.calls) == 2
        assert [outcome_of(task).cached for task in tasks] == [None, *[Cached(0.0, shared=True)] * 2]
        assert sorted(bench.results) == ["miss", "miss", "shared", "shared"]

    async def test_if_the_first_leaves_before_it_ran_another_takes_its_place(self, bench: Bench) -> None:
        first, second = bench.open(), bench.ask()
        await settled()
        assert not bench.model.calls
        assert first.turn.leave(None) == "miss"
        await settled()
        bench.model.answer()
        await second
        assert outcome_of(second).answer == LONG

    async def test_if_one_that_waits_leaves_the_run_goes_on(self, bench: Bench) -> None:
        first, second, third = [bench.ask() for _ in range(3)]
        await settled()
        second.cancel()
        await settled()
        bench.model.answer()
        await asyncio.gather(first, third)
        assert (second.cancelled(), bench.model.stopped, len(bench.model.calls)) == (True, 0, 1)
        assert bench.results.count(None) == 1

    async def test_if_all_leave_nothing_is_run_any_more(self, bench: Bench) -> None:
        tasks = [bench.ask() for _ in range(3)]
        await settled()
        for task in reversed(tasks):
            task.cancel()
        await settled()
        assert (bench.model.stopped, len(bench.model.calls)) == (1, 1)
        assert bench.turn().leads

    async def test_a_failure_that_may_pass_makes_the_next_one_run_while_the_others_wait(self, bench: Bench) -> None:
        tasks = [bench.ask() for _ in range(4)]
        for calls in (1, 2):
            await settled()
            assert (len(bench.model.calls), len(bench.begun)) == (calls, calls - 1)
            bench.model.answer(BROKEN)
        await settled()
        bench.model.answer()
        await asyncio.gather(*tasks)
        assert len(bench.model.calls) == 3
        assert [outcome_of(task).answer for task in tasks] == [BROKEN, BROKEN, LONG, LONG]

    async def test_a_failure_of_the_request_itself_is_shared(self, bench: Bench) -> None:
        refusal = Failure("refused", "No.", param="tools")
        tasks = [bench.ask() for _ in range(3)]
        await settled()
        bench.model.answer(refusal)
        await asyncio.gather(*tasks)
        assert len(bench.model.calls) == 1
        assert [outcome_of(task).answer for task in tasks] == [refusal] * 3

    async def test_a_bug_reaches_the_first_alone(self, bench: Bench) -> None:
        first, second = bench.ask(), bench.ask()
        await settled()
        bench.model.calls[-1].set_exception(RuntimeError("bug"))
        await settled()
        bench.model.answer()
        await second
        with pytest.raises(RuntimeError, match="bug"):
            await first
        assert outcome_of(second).answer == LONG

    async def test_a_watched_run_is_told_in_the_order_in_which_it_happens(self, bench: Bench) -> None:
        models = {"a": Fake(reply("Paris")), "b": Fake(reply("Rome")), "t": Fake(LONG)}
        run, progress = Run(PROMPT, (TIER, TARGET), models, Judge(0.0)), asyncio.Queue[Event | Progress | None]()
        run.watch = progress.put_nowait
        request = bench.entered(run)
        events = [event async for event in merged(request.events(), progress)]
        tiers = [type(event) for event in events if isinstance(event, TierStarted | TierResult)]
        assert tiers == [TierStarted, TierResult, TierStarted, TierResult]
        assert isinstance(events[-1], Outcome)
        assert request.turn.leave(events[-1]) == "miss"
        assert not bench.turn().leads

    async def test_a_client_that_does_not_read_holds_up_nobody(self, bench: Bench) -> None:
        slow = bench.open(stream=True)
        async with aclosing(slow.events()) as events:
            assert await anext(events) == Delta("It ", 10, 1)  # and reads no further
            second = bench.ask()
            await settled()
            bench.model.answer()
            await second
            assert outcome_of(second).cached == Cached(0.0, shared=True)
            assert await anext(events) == Delta("is Paris.", 10, 4)
        assert slow.run.calls
        slow.turn.leave(None)
