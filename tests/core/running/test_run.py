"""A run of calls: time limits, cancellation, bugs of models, speeds and times."""

import asyncio
from contextlib import aclosing

import pytest

from serve_app.core.cost import Speed
from serve_app.core.running.cascade import Event, cascade_events, run_cascade
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.outcome import Call, Outcome
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt, Sampling
from tests.core.scripted import (
    BROKEN,
    HANG,
    PROMPT,
    STREAM,
    TARGET,
    TIER,
    TRIO,
    Fake,
    Judge,
    Stubborn,
    begun,
    cancel,
    collect,
    kinds,
    quiet,
    reply,
    run_of,
)
from tests.patience import PATIENCE_S

__all__ = ["quiet"]


class TestTimeouts:
    async def test_a_late_member_fails_and_the_others_decide(self):
        tier = Tier(("a", "b", "c"), signal="exact", threshold=0.5, timeout_s=0.1)
        models = {"a": Fake(reply("x")), "b": Fake(HANG), "c": Fake(reply("x"))}
        run = run_of(models, (tier, TARGET))
        outcome = await run_cascade(run)
        assert (outcome.answered_by, outcome.reason) == ("a", "agreement")
        late = outcome.tiers[0].calls[1].answer
        assert isinstance(late, Failure)
        assert (late.kind, late.message, late.estimated) == ("timeout", "No answer within 0.1 s.", True)
        assert late.latency_s >= 0.1
        assert models["b"].stopped == 1
        assert kinds(run) == {"a": "ok", "b": "timeout", "c": "ok"}

    async def test_the_model_is_told_its_limit_and_goes_first(self, monkeypatch):
        monkeypatch.setattr("serve_app.core.running.calls.GRACE_S", HANG)
        own = Failure("timeout", "I know what I spent.", 10, 3)
        models = {"a": Fake(0.05, own), "t": Fake(reply("z"))}
        tiers = (Tier(("a",), signal="exact", timeout_s=0.01), Tier(("t",), timeout_s=4.0))
        outcome = await run_cascade(run_of(models, tiers))
        assert outcome.tiers[0].calls == (Call("a", own),)
        assert [fake.prompts[0].timeout_s for fake in models.values()] == [0.01, 4.0]

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_late_target_fails(self, stream):
        target = Fake(HANG, reply("z"))
        run = run_of({"t": target}, (Tier(("t",), timeout_s=0.1),), stream=stream)
        outcome = await run_cascade(run)
        assert isinstance(outcome.answer, Failure)
        assert (outcome.answer.kind, outcome.answer.message) == ("timeout", "No answer within 0.1 s.")
        assert target.stopped == 1
        assert kinds(run) == {"t": "timeout"}

    async def test_a_target_that_stalls_is_charged_for_what_it_streamed(self):
        target = Fake(*STREAM[:2], HANG)
        run = run_of({"t": target}, (Tier(("t",), timeout_s=0.1),), stream=True)
        outcome = await run_cascade(run)
        failure = outcome.answer
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.prompt_tokens, failure.completion_tokens) == ("timeout", 12, 2)
        assert not failure.estimated
        assert target.stopped == 1

    async def test_a_target_that_dies_is_charged_for_what_it_streamed(self):
        gone = Failure("unavailable", "The replica is gone.", uncounted=True)
        run = run_of({"t": Fake(*STREAM[:2], gone)}, (TARGET,), stream=True)
        failure = (await run_cascade(run)).answer
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.message) == ("unavailable", "The replica is gone.")
        assert (failure.prompt_tokens, failure.completion_tokens, failure.estimated) == (12, 2, False)
        assert kinds(run) == {"t": "unavailable"}

    async def test_a_member_that_dies_is_charged_by_estimate(self):
        gone = Failure("error", "The replica is gone.", uncounted=True)
        models = {"a": Fake(gone), "b": Fake(reply("x")), "t": Fake(reply("z"))}
        run = run_of(models, (Tier(("a", "b"), signal="exact", min_answers=2), TARGET), fallback=True)
        await run_cascade(run)
        [failure] = [call.answer for call in run.calls if call.model == "a"]
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.estimated, failure.uncounted) == ("error", True, False)
        assert failure.prompt_tokens > 0

    async def test_all_deltas_share_one_limit(self):
        target = Fake(0.06, STREAM[0], 0.06, STREAM[1], 0.06, STREAM[2])
        run = run_of({"t": target}, (Tier(("t",), timeout_s=0.1),), stream=True)
        assert isinstance((await run_cascade(run)).answer, Failure)

    async def test_the_clock_rests_while_the_consumer_holds_a_delta(self):
        target = Fake(STREAM[0], 0.01, STREAM[1], 0.01, STREAM[2])
        run = run_of({"t": target}, (Tier(("t",), timeout_s=1.0),), stream=True)
        async with aclosing(cascade_events(run)) as events:
            async for event in events:
                if event == STREAM[0]:
                    await asyncio.sleep(1.1)
                outcome = event
        assert isinstance(outcome, Outcome)
        assert outcome.answer == STREAM[2]

    async def test_a_member_stands_in_for_a_late_target(self):
        models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "t": Fake(HANG)}
        run = run_of(models, (TIER, Tier(("t",), timeout_s=0.05)), scorer=Judge(0.0), fallback=True)
        outcome = await run_cascade(run)
        assert outcome.answered_by == "a"
        assert outcome.replaced is not None
        assert outcome.replaced.kind == "timeout"


class TestCancelling:
    async def test_while_members_run(self):
        models = {"a": Fake(reply("x", 10, 4)), "b": Fake(HANG), "c": Fake(HANG), "t": Fake(reply("z"))}
        run = run_of(models, (TRIO, TARGET))
        task = asyncio.create_task(run_cascade(run))
        await begun(models["a"], models["b"], models["c"])
        await cancel(task)
        assert [fake.stopped for fake in models.values()] == [0, 1, 1, 0]
        assert kinds(run) == {"a": "ok", "b": "cancelled", "c": "cancelled"}
        spent = run.calls[1].answer
        assert isinstance(spent, Failure)
        assert (spent.estimated, spent.prompt_tokens, spent.completion_tokens) == (True, 10, 4)
        assert models["t"].prompts == []

    async def test_twice_while_a_member_takes_its_time_to_stop(self):
        """The second cancellation must neither lose the bill nor leave the member running."""

        slow = Stubborn(HANG)
        models = {"a": slow, "b": Fake(HANG)}
        run = run_of(models)
        task = asyncio.create_task(run_cascade(run))
        await begun(*models.values())
        task.cancel()
        await asyncio.wait_for(slow.stopping.wait(), PATIENCE_S)
        await cancel(task)
        assert kinds(run) == {"a": "cancelled", "b": "cancelled"}

    async def test_while_lost_members_are_being_stopped(self):
        slow = Stubborn(HANG)
        run = run_of({"a": Fake(BROKEN), "b": slow})
        task = asyncio.create_task(run_cascade(run))
        await asyncio.wait_for(slow.stopping.wait(), PATIENCE_S)
        await cancel(task)
        assert kinds(run) == {"a": "error", "b": "cancelled"}

    async def test_while_the_scorer_runs(self):
        scorer = Judge(delay_s=HANG)
        run = run_of({"a": Fake(reply("x")), "b": Fake(reply("y"))}, scorer=scorer)
        task = asyncio.create_task(run_cascade(run))
        await begun(scorer)
        await cancel(task)
        assert scorer.stopped == 1
        assert kinds(run) == {"a": "ok", "b": "ok"}

    @pytest.mark.parametrize("stream", [False, True])
    async def test_while_the_target_has_said_nothing(self, stream):
        models = {"a": Fake(reply("x", 10, 4)), "b": Fake(reply("y", 9, 6)), "t": Fake(HANG)}
        run = run_of(models, scorer=Judge(0.0), stream=stream)
        task = asyncio.create_task(collect(run))
        await begun(models["t"])
        await cancel(task)
        assert models["t"].stopped == 1
        assert kinds(run) == {"a": "ok", "b": "ok", "t": "cancelled"}
        spent = run.calls[-1].answer
        assert isinstance(spent, Failure)
        assert (spent.estimated, spent.prompt_tokens, spent.completion_tokens) == (True, 10, 6)

    async def test_while_the_target_streams(self):
        target = Fake(*STREAM[:2], HANG)
        run = run_of({"t": target}, (TARGET,), stream=True)
        shown = asyncio.Event()

        async def read() -> list[Event]:
            events = []
            async with aclosing(cascade_events(run)) as stream:
                async for event in stream:
                    events.append(event)
                    if len(events) == 2:
                        shown.set()
            return events

        task = asyncio.create_task(read())
        await asyncio.wait_for(shown.wait(), PATIENCE_S)
        await asyncio.sleep(0)  # back to waiting for the third delta
        await cancel(task)
        assert target.stopped == 1
        assert kinds(run) == {"t": "cancelled"}
        spent = run.calls[0].answer
        assert isinstance(spent, Failure)
        assert (spent.estimated, spent.prompt_tokens, spent.completion_tokens) == (False, 12, 2)

    async def test_by_closing_the_generator(self):
        target = Fake(STREAM[0], HANG)
        run = run_of({"a": Fake(reply("x")), "b": Fake(reply("y")), "t": target}, scorer=Judge(0.0), stream=True)
        events = cascade_events(run)
        while not isinstance(await anext(events), Delta):
            pass
        await events.aclose()
        assert target.stopped == 1
        assert kinds(run) == {"a": "ok", "b": "ok", "t": "cancelled"}
        assert run.calls[-1].answer.completion_tokens == 1

    async def test_by_closing_the_generator_between_the_tiers(self):
        run = run_of({"a": Fake(reply("x")), "b": Fake(reply("y")), "t": Fake(reply("z"))}, scorer=Judge(0.0))
        events = cascade_events(run)
        await anext(events)
        await events.aclose()
        assert kinds(run) == {"a": "ok", "b": "ok"}
        assert len(run.results) == 1

    async def test_a_plain_target_that_answers_its_cancellation_does_not_swallow_it(self):
        target = Fake(HANG, parting=Failure("cancelled", "Stopped.", 12, 5))
        run = run_of({"t": target}, (TARGET,))
        task = asyncio.create_task(run_cascade(run))
        await begun(target)
        await cancel(task)
        assert run.calls == [Call("t", Failure("cancelled", "Stopped.", 12, 5))]

    async def test_a_reader_that_gives_up_in_time(self):
        models = {"a": Fake(HANG), "b": Fake(HANG)}
        run = run_of(models)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await run_cascade(run)
        assert kinds(run) == {"a": "cancelled", "b": "cancelled"}


class TestBugs:
    """A model or scorer that raises breaks its contract: the error comes out, and nothing stays behind."""

    @pytest.mark.parametrize("fallback", [False, True])
    @pytest.mark.parametrize("step", [HANG, 0.0, 0.02])
    async def test_in_a_member(self, step, fallback):
        models = {"a": Fake(RuntimeError("bug")), "b": Fake(step, reply("x")), "c": Fake(step, reply("x"))}
        run = run_of(models, (TRIO, TARGET), fallback=fallback)
        with pytest.raises(RuntimeError, match="bug"):
            await run_cascade(run)
        assert run.calls[0].model in models
        assert set(kinds(run)) == {"a", "b", "c"}
        if step == HANG:
            assert [fake.stopped for fake in models.values()] == [0, 1, 1]
            assert kinds(run) == {"a": "cancelled", "b": "cancelled", "c": "cancelled"}

    @pytest.mark.parametrize("force", [None, "accept", "defer"])
    async def test_in_the_member_that_ends_last(self, force):
        models = {"a": Fake(reply("x")), "b": Fake(0.02, RuntimeError("bug")), "t": Fake(reply("z"))}
        with pytest.raises(RuntimeError, match="bug"):
            await run_cascade(run_of(models, force=force))

    async def test_in_every_member(self):
        run = run_of({"a": Fake(RuntimeError("bug")), "b": Fake(RuntimeError("bug"))})
        with pytest.raises(RuntimeError, match="bug"):
            await run_cascade(run)

    async def test_in_the_cleaning_up_of_a_member_that_is_cancelled(self):
        class Sloppy(Fake):
            async def generate(self, prompt: Prompt) -> Answer:
                try:
                    return await super().generate(prompt)
                except asyncio.CancelledError:
                    raise RuntimeError("bug") from None

        run = run_of({"a": Fake(BROKEN), "b": Sloppy(HANG), "t": Fake(reply("z"))})
        assert (await run_cascade(run)).answered_by == "t"
        assert kinds(run) == {"a": "error", "b": "cancelled", "t": "ok"}

    @pytest.mark.parametrize("error", [RuntimeError("bug"), TimeoutError("bug")])
    @pytest.mark.parametrize("stream", [False, True])
    async def test_in_the_target(self, stream, error):
        run = run_of({"t": Fake(STREAM[0], error)}, (Tier(("t",), timeout_s=5.0),), stream=stream)
        with pytest.raises(type(error), match="bug"):
            await run_cascade(run)
        assert kinds(run) == {"t": "cancelled"}

    async def test_in_the_scorer(self):
        run = run_of({"a": Fake(reply("x")), "b": Fake(reply("y"))}, scorer=Judge(RuntimeError("bug")))
        with pytest.raises(RuntimeError, match="bug"):
            await run_cascade(run)
        assert kinds(run) == {"a": "ok", "b": "ok"}

    async def test_a_model_that_is_not_there_starts_none_of_the_others(self):
        models = {"a": Fake(HANG)}
        with pytest.raises(KeyError, match="b"):
            await run_cascade(run_of(models))
        assert models["a"].prompts == []


async def test_speeds_are_learnt_and_used():
    speeds = {"a": Speed(), "b": Speed()}
    prompt = Prompt(text="x", sampling=Sampling(max_tokens=3))
    quick = Generation("x", "stop", 10, 4, latency_s=2.0)
    await run_cascade(Run(PROMPT, (TIER, TARGET), {"a": Fake(quick), "b": Fake(quick)}, Judge(), speeds=speeds))
    assert (speeds["a"].token_s, speeds["b"].token_s) == (0.5, 0.5)
    speeds["b"].token_s = 0.000001
    models = {"a": Fake(0.01, BROKEN), "b": Fake(HANG), "t": Fake(reply("z"))}
    outcome = await run_cascade(Run(prompt, (TIER, TARGET), models, Judge(), speeds=speeds))
    assert outcome.tiers[0].calls[1].answer.completion_tokens == 3  # by its speed far more, but it may not say more


async def test_times_are_measured():
    run = run_of({"a": Fake(0.03, reply("x")), "b": Fake(reply("x"))}, scorer=Judge(delay_s=0.02))
    outcome = await run_cascade(run)
    (result,) = outcome.tiers
    assert result.scoring_s >= 0.02
    assert outcome.total_s >= result.elapsed_s >= 0.05
