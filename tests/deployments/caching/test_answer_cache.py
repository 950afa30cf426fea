"""Kept answers and shared runs, over scripted models; nothing here waits for a clock."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from serve_app.config import AppConfig
from serve_app.core.running.cascade import Event
from serve_app.core.running.progress import Progress, TierStarted, merged
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.outcome import Cached, Outcome, TierResult
from serve_app.core.types.prompt import Prompt
from serve_app.deployments.caching.answer_cache import AnswerCache
from tests.core.scripted import BROKEN, PROMPT, TARGET, TIER, Fake, Judge, said

KEY = b"k"
LONG = said("It is Paris.", 10, 4)


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


class Bench:
    """A cache of one cascade over one gated model, and the requests that were made."""

    def __init__(self, **cache: Any) -> None:
        models = {"t": {"engine": "replay", "default": "x"}}
        cascades = {"default": {"tiers": [{"models": ["t"]}], "cache": cache}, "plain": {"tiers": [{"models": ["t"]}]}}
        config = AppConfig.model_validate({"models": models, "cascades": cascades})
        self.now = 0.0
        self.model = Gated()
        self.begun: list[Run] = []
        self.cache = AnswerCache(config, lambda _, run: self.begun.append(run), lambda: self.now)

    def open(self, key: bytes = KEY, *, stream: bool = False) -> Run:
        run = Run(PROMPT, (TARGET,), {"t": self.model}, Judge(), stream=stream)
        self.cache.enter("default", run, key)
        return run

    def ask(self, key: bytes = KEY, *, stream: bool = False) -> "asyncio.Task[list[Event]]":
        return asyncio.create_task(self._asked(self.open(key, stream=stream)))

    async def _asked(self, run: Run) -> list[Event]:
        outcome = None
        try:
            async with aclosing(self.cache.events(run)) as events:
                seen = [event async for event in events]
            outcome = seen[-1]
            return seen
        finally:
            self.results.append(self.cache.leave(run, outcome if isinstance(outcome, Outcome) else None))

    results: list[Any]


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.results = []
    return bench


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
        assert bench.cache.has_answer("default", KEY)
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
        run = bench.open()
        async with aclosing(bench.cache.events(run)) as events:
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
        assert not bench.cache.has_answer("default", b"other")
        other = bench.ask(b"other")
        await settled()
        bench.model.answer()
        await other
        assert (len(bench.model.calls), bench.results) == (2, ["miss", "miss"])

    async def test_a_kept_answer_is_forgotten_in_time(self) -> None:
        bench = Bench(ttl_s=60)
        bench.results = []
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

    def test_only_a_cascade_with_a_cache_has_one(self, bench: Bench) -> None:
        assert (bench.cache.has("default"), bench.cache.has("plain"), bench.cache.has("t")) == (True, False, False)

    async def test_a_request_without_a_turn_runs_by_itself(self, bench: Bench) -> None:
        run = Run(PROMPT, (TARGET,), {"t": bench.model}, Judge())
        task = asyncio.create_task(bench._asked(run))
        await settled()
        bench.model.answer()
        await task
        assert bench.results == ["uncacheable"]
        assert not bench.cache.has_answer("default", KEY)


class TestShared:
    async def test_equal_requests_share_one_run(self, bench: Bench) -> None:
        tasks = [bench.ask(stream=number == 1) for number in range(4)]
        await settled()
        assert bench.cache.has_answer("default", KEY)
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
        first, *others = [bench.ask() for _ in range(4)]
        await settled()
        first.cancel()
        await settled()
        assert (first.cancelled(), bench.model.stopped, len(bench.model.calls), len(bench.begun)) == (True, 1, 2, 1)
        bench.model.answer()
        await asyncio.gather(*others)
        assert len(bench.model.calls) == 2
        assert [outcome_of(task).cached for task in others] == [None, *[Cached(0.0, shared=True)] * 2]
        assert sorted(bench.results) == ["miss", "miss", "shared", "shared"]

    async def test_if_the_first_leaves_before_it_ran_another_takes_its_place(self, bench: Bench) -> None:
        first, second = bench.open(), bench.ask()
        await settled()
        assert not bench.model.calls
        assert bench.cache.leave(first, None) == "miss"
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
        assert not bench.cache.has_answer("default", KEY)

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
        models = {"a": Fake(said("Paris")), "b": Fake(said("Rome")), "t": Fake(LONG)}
        run, progress = Run(PROMPT, (TIER, TARGET), models, Judge(0.0)), asyncio.Queue[Event | Progress | None]()
        run.watch = progress.put_nowait
        bench.cache.enter("default", run, KEY)
        events = [event async for event in merged(bench.cache.events(run), progress)]
        tiers = [type(event) for event in events if isinstance(event, TierStarted | TierResult)]
        assert tiers == [TierStarted, TierResult, TierStarted, TierResult]
        assert isinstance(events[-1], Outcome)
        assert bench.cache.leave(run, events[-1]) == "miss"
        assert bench.cache.has_answer("default", KEY)

    async def test_a_client_that_does_not_read_holds_up_nobody(self, bench: Bench) -> None:
        slow = bench.open(stream=True)
        async with aclosing(bench.cache.events(slow)) as events:
            assert await anext(events) == Delta("It ", 10, 1)  # and reads no further
            second = bench.ask()
            await settled()
            bench.model.answer()
            await second
            assert outcome_of(second).cached == Cached(0.0, shared=True)
            assert await anext(events) == Delta("is Paris.", 10, 4)
        assert slow.calls
        bench.cache.leave(slow, None)
