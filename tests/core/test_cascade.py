import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from math import nan

import pytest

from serve_app.core.cascade import Event, cascade_events, run_cascade
from serve_app.core.cost import Speed
from serve_app.core.run import Run
from serve_app.core.types import (
    Answer,
    Call,
    Delta,
    Failure,
    Force,
    Generation,
    Matrix,
    Message,
    Outcome,
    Prompt,
    Sampling,
    Scores,
    Tier,
    TierResult,
    ToolCall,
)
from serve_app.errors import SignalError

HANG = 3600.0
"""Seconds in a script that no test waits for."""

Step = float | Delta | Generation | Failure | Exception


class Fake:
    """A model that plays a script: sleeps, streams deltas, answers, fails or raises. It notes when it is stopped."""

    def __init__(self, *script: Step, parting: Answer | None = None) -> None:
        self.script = script
        self.parting = parting  # what `generate` returns, instead of raising, when it is cancelled
        self.prompts: list[Prompt] = []
        self.entered = asyncio.Event()
        self.stopped = 0

    async def generate(self, prompt: Prompt) -> Answer:
        self._enter(prompt)
        try:
            for step in self.script:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, Exception):
                    raise step
                elif not isinstance(step, Delta):
                    return step
        except asyncio.CancelledError:
            self.stopped += 1
            if self.parting is None:
                raise
            return self.parting
        raise AssertionError("The script has no answer.")

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        self._enter(prompt)
        answered = False
        try:
            for step in self.script:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    answered = not isinstance(step, Delta)
                    yield step
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += not answered
            raise

    def _enter(self, prompt: Prompt) -> None:
        self.prompts.append(prompt)
        self.entered.set()


class Stubborn(Fake):
    """Takes its time to stop."""

    def __init__(self, *script: Step) -> None:
        super().__init__(*script)
        self.stopping = asyncio.Event()

    async def generate(self, prompt: Prompt) -> Answer:
        try:
            return await super().generate(prompt)
        finally:
            self.stopping.set()
            await asyncio.sleep(0.05)


class Judge:
    """A scorer: the same similarity for every pair of different texts, or an error, or no end."""

    def __init__(self, similarity: float | Matrix | Exception = 1.0, delay_s: float = 0.0) -> None:
        self.similarity = similarity
        self.delay_s = delay_s
        self.asked: list[tuple[str, list[str]]] = []
        self.entered = asyncio.Event()
        self.stopped = 0

    async def score(self, signal: str, texts: Sequence[str]) -> Scores:
        self.asked.append((signal, list(texts)))
        self.entered.set()
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if isinstance(self.similarity, Exception):
            raise self.similarity
        if isinstance(self.similarity, tuple):
            return Scores(self.similarity)
        similarity = self.similarity
        matrix = tuple(tuple(1.0 if a == b else similarity for b in texts) for a in texts)
        return Scores(matrix, flops=7.0, device_s=0.5)


PROMPT = Prompt(messages=(Message("user", "Capital of France?"),))
TIER = Tier(("a", "b"), signal="exact", threshold=0.5)
TRIO = Tier(("a", "b", "c"), signal="exact", threshold=0.5)
TARGET = Tier(("t",))
BROKEN = Failure("error", "Broken.", 10, 0)
STREAM = (Delta("Par", 12, 1), Delta("is", 12, 2), Generation("Paris", "stop", 12, 2))


def said(text: str, prompt_tokens: int = 10, completion_tokens: int = 2) -> Generation:
    return Generation(text, "stop", prompt_tokens, completion_tokens)


def run_of(
    models: dict[str, Fake],
    tiers: Sequence[Tier] = (TIER, TARGET),
    *,
    scorer: Judge | None = None,
    prompt: Prompt = PROMPT,
    force: Force | None = None,
    fallback: bool = False,
    stream: bool = False,
) -> Run:
    return Run(prompt, tiers, models, scorer or Judge(), force=force, fallback=fallback, stream=stream)


async def collect(run: Run) -> list[Event]:
    async with aclosing(cascade_events(run)) as events:
        return [event async for event in events]


async def begun(*fakes: Fake | Judge) -> None:
    async with asyncio.timeout(60):
        for fake in fakes:
            await fake.entered.wait()


async def cancel(task: asyncio.Task[Outcome] | asyncio.Task[list[Event]]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def kinds(run: Run) -> dict[str, str]:
    """By model, how each call ended; fails if a model was noted twice."""
    ended = {call.model: call.answer.kind if isinstance(call.answer, Failure) else "ok" for call in run.calls}
    assert len(ended) == len(run.calls)
    return ended


@pytest.fixture(autouse=True)
async def quiet(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Fails on tasks left running, and on what asyncio only logs ('Task exception was never retrieved')."""
    monkeypatch.setattr("serve_app.core.run.GRACE_S", 0.0)
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    gc.collect(1)  # the young ones are enough, and much quicker
    await asyncio.sleep(0)
    assert not complaints
    assert not left


REFUSED = Failure("refused", "No such format.", param="response_format")


class TestRefusing:
    """A request that a model cannot honour would only fail again: nobody else is asked."""

    @pytest.mark.parametrize("fallback", [False, True])
    async def test_a_member_that_refuses_ends_the_request(self, fallback: bool):
        models = {"a": Fake(HANG), "b": Fake(0.01, REFUSED), "t": Fake(said("Paris"))}
        scorer = Judge()
        run = run_of(models, scorer=scorer, fallback=fallback)
        result, outcome = await collect(run)
        assert isinstance(outcome, Outcome)
        assert (outcome.answer, outcome.answered_by, outcome.deferred) == (REFUSED, "b", False)
        assert isinstance(result, TierResult)
        assert (result.decision.accepted, result.decision.reason) == (False, "refused")
        assert kinds(run) == {"a": "cancelled", "b": "refused"}
        assert models["a"].stopped == 1
        assert models["t"].prompts == []
        assert scorer.asked == []

    @pytest.mark.parametrize("stream", [False, True])
    async def test_members_that_honoured_it_may_stand_in_for_a_target_that_does_not(self, stream: bool):
        models = {"a": Fake(said("x")), "b": Fake(said("y")), "t": Fake(REFUSED)}
        outcome = await run_cascade(run_of(models, scorer=Judge(0.0), fallback=True, stream=stream))
        assert (outcome.answer, outcome.answered_by, outcome.replaced) == (said("x"), "a", REFUSED)
        outcome = await run_cascade(run_of(models, scorer=Judge(0.0), stream=stream))
        assert (outcome.answer, outcome.answered_by) == (REFUSED, "t")


class TestAccepting:
    async def test_the_central_answer_goes_back_and_the_target_is_never_called(self):
        models = {"a": Fake(said("Paris")), "b": Fake(said("paris")), "t": Fake(said("Paris!"))}
        run = run_of(models, scorer=Judge(0.75))
        result, delta, outcome = await collect(run)
        assert isinstance(result, TierResult)
        assert result.calls == (Call("a", said("Paris")), Call("b", said("paris")))
        assert (result.decision.accepted, result.decision.reason, result.decision.agreement) == (
            True,
            "agreement",
            0.75,
        )
        assert result.scores == Scores(((1.0, 0.75), (0.75, 1.0)), flops=7.0, device_s=0.5)
        assert delta == Delta("Paris", 10, 2)
        assert isinstance(outcome, Outcome)
        assert (outcome.answer, outcome.answered_by, outcome.tiers) == (said("Paris"), "a", (result,))
        assert (outcome.deferred, outcome.reason, outcome.replaced) == (False, "agreement", None)
        assert models["t"].prompts == []
        assert kinds(run) == {"a": "ok", "b": "ok"}

    async def test_members_are_asked_at_once(self):
        class Meeting(Fake):
            async def generate(self, prompt: Prompt) -> Answer:
                self._enter(prompt)
                await begun(*models.values())
                return said("Paris")

        models: dict[str, Fake] = {"a": Meeting(), "b": Meeting(), "c": Meeting()}
        assert (await run_cascade(run_of(models, (TRIO, TARGET)))).answered_by == "a"

    async def test_answers_stay_in_the_order_of_the_config(self):
        models = {"a": Fake(0.02, said("slow")), "b": Fake(said("fast"))}
        scorer = Judge(0.75)
        outcome = await run_cascade(run_of(models, scorer=scorer))
        assert [call.model for call in outcome.tiers[0].calls] == ["a", "b"]
        assert scorer.asked == [("exact", ["slow", "fast"])]
        assert outcome.answer == said("slow")

    async def test_an_accepted_answer_streams_whole(self):
        run = run_of({"a": Fake(*STREAM), "b": Fake(*STREAM)}, stream=True)
        deltas = [event for event in await collect(run) if isinstance(event, Delta)]
        assert deltas == [Delta("Paris", 12, 2)]

    @pytest.mark.parametrize(("threshold", "who"), [(0.75, "a"), (0.7500000000000001, "t")])
    async def test_agreement_equal_to_the_threshold_accepts(self, threshold, who):
        tier = Tier(("a", "b"), signal="exact", threshold=threshold)
        models = {"a": Fake(said("x")), "b": Fake(said("y")), "t": Fake(said("z"))}
        assert (await run_cascade(run_of(models, (tier, TARGET), scorer=Judge(0.75)))).answered_by == who

    async def test_forced(self):
        models = {"a": Fake(said("x")), "b": Fake(said("y")), "t": Fake(said("z"))}
        accepted = await run_cascade(run_of(models, scorer=Judge(0.0), force="accept"))
        assert (accepted.answered_by, accepted.reason) == ("a", "forced")
        deferred = await run_cascade(run_of(models, scorer=Judge(1.0), force="defer"))
        assert (deferred.answered_by, deferred.reason, deferred.deferred) == ("t", "forced", True)

    async def test_forced_to_accept_waits_for_the_only_answer(self):
        models = {"a": Fake(BROKEN), "b": Fake(0.02, said("y")), "t": Fake(said("z"))}
        outcome = await run_cascade(run_of(models, force="accept"))
        assert (outcome.answered_by, outcome.reason) == ("b", "forced")

    async def test_forced_to_accept_with_nothing_to_accept_defers(self):
        models = {"a": Fake(BROKEN), "b": Fake(said(" ")), "t": Fake(said("z"))}
        outcome = await run_cascade(run_of(models, force="accept"))
        assert (outcome.answered_by, outcome.reason) == ("t", "too_few_answers")

    @pytest.mark.parametrize(("parallel", "kept"), [(True, 2), (False, 1)])
    @pytest.mark.parametrize("stream", [False, True])
    async def test_further_calls_are_dropped_where_one_is_wanted(self, parallel, kept, stream):
        calls = (ToolCall("1", "f", "{}"), ToolCall("2", "f", "{}"))
        answer = replace(said(""), finish_reason="tool_calls", tool_calls=calls)
        prompt = replace(PROMPT, parallel_tool_calls=parallel)
        run = run_of({"t": Fake(answer)}, (TARGET,), prompt=prompt, stream=stream)
        outcome = await run_cascade(run)
        assert outcome.answer == replace(answer, tool_calls=calls[:kept])
        assert run.calls == [Call("t", outcome.answer)]

    async def test_runs_under_plain_asyncio(self):
        run = run_of({"a": Fake(said("x")), "b": Fake(said("x"))})
        outcome = await asyncio.to_thread(lambda: asyncio.run(run_cascade(run)))
        assert outcome.answered_by == "a"


class TestDeferring:
    async def test_the_target_answers(self):
        models = {"a": Fake(said("x")), "b": Fake(said("y")), "t": Fake(said("z", 12, 3))}
        run = run_of(models, scorer=Judge(0.25))
        first, delta, last, outcome = await collect(run)
        assert isinstance(first, TierResult)
        assert isinstance(last, TierResult)
        assert isinstance(outcome, Outcome)
        assert (first.decision.accepted, first.decision.reason) == (False, "disagreement")
        assert delta == Delta("z", 12, 3)
        assert (last.decision.accepted, last.decision.reason, last.judged) == (True, "last_tier", None)
        assert (outcome.answer, outcome.answered_by, outcome.tiers) == (said("z", 12, 3), "t", (first, last))
        assert (outcome.deferred, outcome.reason) == (True, "disagreement")
        assert kinds(run) == {"a": "ok", "b": "ok", "t": "ok"}

    async def test_three_tiers(self):
        middle = Tier(("c", "d"), signal="rouge1", threshold=0.5)
        models = {name: Fake(said(name)) for name in "abcdt"}
        scorer = Judge(0.25)
        outcome = await run_cascade(run_of(models, (TIER, middle, TARGET), scorer=scorer))
        assert outcome.answered_by == "t"
        assert [result.decision.reason for result in outcome.tiers] == ["disagreement", "disagreement", "last_tier"]
        assert scorer.asked == [("exact", ["a", "b"]), ("rouge1", ["c", "d"])]

    async def test_the_middle_tier_accepts(self):
        middle = Tier(("c", "d"), signal="exact", threshold=0.25)
        models = {name: Fake(said(name)) for name in "abcdt"}
        outcome = await run_cascade(run_of(models, (TIER, middle, TARGET), scorer=Judge(0.25)))
        assert (outcome.answered_by, outcome.deferred, outcome.reason) == ("c", True, "disagreement")
        assert models["t"].prompts == []

    async def test_a_target_alone(self):
        outcome = await run_cascade(run_of({"t": Fake(said("z"))}, (TARGET,)))
        assert (outcome.answered_by, outcome.deferred, outcome.reason) == ("t", False, "last_tier")

    async def test_nan_defers(self):
        models = {"a": Fake(said("x")), "b": Fake(said("y")), "t": Fake(said("z"))}
        outcome = await run_cascade(run_of(models, scorer=Judge(nan)))
        assert (outcome.answered_by, outcome.reason) == ("t", "disagreement")

    @pytest.mark.parametrize("error", [SignalError("No such signal."), SignalError("The scorer is down.")])
    async def test_a_failed_scorer_defers(self, error):
        models = {"a": Fake(said("x")), "b": Fake(said("y")), "t": Fake(said("z"))}
        outcome = await run_cascade(run_of(models, scorer=Judge(error)))
        assert (outcome.answered_by, outcome.reason) == ("t", "scorer_failed")
        assert outcome.tiers[0].scorer_error == str(error)
        assert outcome.tiers[0].scores is None

    async def test_empty_answers_are_not_worth_scoring(self):
        models = {"a": Fake(said("")), "b": Fake(said(" \n")), "t": Fake(said("z"))}
        scorer = Judge(1.0)
        outcome = await run_cascade(run_of(models, scorer=scorer))
        assert (outcome.answered_by, outcome.reason) == ("t", "nothing_to_return")
        assert scorer.asked == []

    async def test_a_failed_member_leaves_the_others_to_agree(self):
        models = {"a": Fake(said("x")), "b": Fake(BROKEN), "c": Fake(said("x")), "t": Fake(said("z"))}
        scorer = Judge(0.0)
        run = run_of(models, (TRIO, TARGET), scorer=scorer)
        outcome = await run_cascade(run)
        assert (outcome.answered_by, outcome.tiers[0].decision.agreement) == ("a", 1.0)
        assert scorer.asked == [("exact", ["x", "x"])]
        assert outcome.tiers[0].calls[1] == Call("b", BROKEN)
        assert kinds(run) == {"a": "ok", "b": "error", "c": "ok"}

    async def test_too_few_answers_defer_at_once(self):
        """The slow member sees its cancellation, and is charged as an estimate."""
        slow = Fake(HANG, said("x"))
        models = {"a": Fake(said("x", 10, 4)), "b": Fake(BROKEN), "c": slow, "t": Fake(said("z"))}
        scorer = Judge()
        tier = Tier(("a", "b", "c"), signal="exact", threshold=0.5, min_answers=3)
        run = run_of(models, (tier, TARGET), scorer=scorer)
        outcome = await run_cascade(run)
        assert (outcome.answered_by, outcome.reason) == ("t", "too_few_answers")
        assert slow.stopped == 1
        assert scorer.asked == []
        assert kinds(run) == {"a": "ok", "b": "error", "c": "cancelled", "t": "ok"}
        failure = outcome.tiers[0].calls[2].answer
        assert isinstance(failure, Failure)
        assert (failure.estimated, failure.prompt_tokens, failure.completion_tokens) == (True, 10, 4)
        assert "nothing to accept" in failure.message

    @pytest.mark.parametrize("answer", [BROKEN, said(" ")])
    async def test_a_fixed_model_without_an_answer_ends_the_tier(self, answer):
        slow, scorer = Fake(HANG), Judge()
        models = {"a": Fake(answer), "b": Fake(said("x")), "c": slow, "t": Fake(said("z"))}
        outcome = await run_cascade(run_of(models, (replace(TRIO, select="a"), TARGET), scorer=scorer))
        assert (outcome.answered_by, outcome.reason) == ("t", "nothing_to_return")
        assert (slow.stopped, scorer.asked) == (1, [])

    async def test_a_fixed_model_that_is_still_at_work_is_waited_for(self):
        models = {"a": Fake(0.02, said("x")), "b": Fake(said("x")), "c": Fake(BROKEN)}
        assert (await run_cascade(run_of(models, (replace(TRIO, select="a"), TARGET)))).answered_by == "a"

    async def test_a_cancelled_member_may_say_what_it_spent(self):
        spent = Failure("cancelled", "Stopped.", 11, 7)
        models = {"a": Fake(BROKEN), "b": Fake(HANG, parting=spent), "t": Fake(said("z"))}
        outcome = await run_cascade(run_of(models))
        assert outcome.tiers[0].calls[1].answer == spent

    async def test_enough_answers_can_still_come(self):
        models = {"a": Fake(BROKEN), "b": Fake(0.02, said("x")), "c": Fake(0.01, said("x"))}
        assert (await run_cascade(run_of(models, (TRIO, TARGET)))).answered_by == "b"

    async def test_one_member_and_a_signal_is_asked_and_defers(self):
        models = {"a": Fake(said("x")), "t": Fake(said("z"))}
        outcome = await run_cascade(run_of(models, (Tier(("a",), signal="exact"), TARGET)))
        assert (outcome.answered_by, outcome.reason) == ("t", "too_few_answers")
        assert outcome.tiers[0].calls == (Call("a", said("x")),)

    async def test_truncated_answers_are_discarded_if_the_tier_says_so(self):
        tier = Tier(("a", "b"), signal="exact", truncated="discard")
        models = {"a": Fake(Generation("x", "length", 1, 1)), "b": Fake(HANG), "t": Fake(said("z"))}
        outcome = await run_cascade(run_of(models, (tier, TARGET)))
        assert (outcome.answered_by, outcome.reason) == ("t", "too_few_answers")
        assert models["b"].stopped == 1


class TestConfidence:
    @pytest.mark.parametrize(("threshold", "who", "reason"), [(-0.5, "a", "confident"), (-0.4, "t", "unsure")])
    async def test_one_member_decides_by_its_confidence(self, threshold, who, reason):
        tier = Tier(("a",), threshold=threshold, confidence=lambda *_: -0.5)
        models = {"a": Fake(said("x")), "t": Fake(said("z"))}
        outcome = await run_cascade(run_of(models, (tier, TARGET)))
        assert (outcome.answered_by, outcome.reason) == (who, reason)

    async def test_the_scorer_is_not_asked(self):
        tier = Tier(("a", "b"), threshold=0.0, agreement="mean", confidence=lambda _, answer: float(answer.text))
        scorer = Judge()
        outcome = await run_cascade(run_of({"a": Fake(said("1")), "b": Fake(said("2"))}, (tier, TARGET), scorer=scorer))
        assert (outcome.answered_by, outcome.tiers[0].decision.agreement) == ("b", 1.5)
        assert scorer.asked == []

    async def test_log_probabilities_are_asked_only_where_they_are_used(self):
        by_confidence = Tier(("a",), threshold=0.0, confidence=lambda *_: -1.0)
        by_signal = Tier(("b", "c"), signal="exact", threshold=0.5)
        models = {name: Fake(said(name)) for name in "abct"}
        await run_cascade(run_of(models, (by_confidence, by_signal, TARGET), scorer=Judge(0.0)))
        asked = {name: fake.prompts[0].sampling.logprobs for name, fake in models.items()}
        assert asked == {"a": True, "b": False, "c": False, "t": False}

    async def test_log_probabilities_that_the_request_wants_are_asked_of_all(self):
        models = {name: Fake(said(name)) for name in "abt"}
        prompt = Prompt(text="x", sampling=Sampling(logprobs=True, max_tokens=5))
        await run_cascade(run_of(models, prompt=prompt, scorer=Judge(0.0)))
        assert [fake.prompts for fake in models.values()] == [[prompt]] * 3


class TestStreaming:
    async def test_nothing_is_shown_before_the_decision_and_then_the_target_as_it_comes(self):
        target = Fake(*STREAM)
        run = run_of({"a": Fake(said("x")), "b": Fake(said("y")), "t": target}, scorer=Judge(0.0), stream=True)
        events = await collect(run)
        assert [type(event) for event in events] == [TierResult, Delta, Delta, TierResult, Outcome]
        assert events[1:3] == list(STREAM[:2])
        outcome = events[-1]
        assert isinstance(outcome, Outcome)
        assert isinstance(outcome.answer, Generation)
        assert "".join(event.text for event in events if isinstance(event, Delta)) == outcome.answer.text

    async def test_deltas_pass_before_the_answer_is_complete(self):
        target = Fake(STREAM[0], HANG)
        async with aclosing(cascade_events(run_of({"t": target}, (TARGET,), stream=True))) as events:
            assert await anext(events) == STREAM[0]
        assert target.stopped == 1

    async def test_the_plain_answer_is_one_delta(self):
        events = await collect(run_of({"t": Fake(*STREAM)}, (TARGET,)))
        assert [event for event in events if isinstance(event, Delta)] == [Delta("Paris", 12, 2)]

    async def test_a_stream_without_an_answer_is_a_failure(self):
        run = run_of({"t": Fake(STREAM[0])}, (TARGET,), stream=True)
        *_, outcome = await collect(run)
        assert isinstance(outcome, Outcome)
        assert isinstance(outcome.answer, Failure)
        assert (outcome.answer.kind, outcome.answer.completion_tokens) == ("error", 1)
        assert kinds(run) == {"t": "error"}


class TestFailedTarget:
    MEMBERS = (said("x"), said("y"))

    def models(self, *target: Step) -> dict[str, Fake]:
        return {"a": Fake(self.MEMBERS[0]), "b": Fake(self.MEMBERS[1]), "t": Fake(*target)}

    @pytest.mark.parametrize("stream", [False, True])
    async def test_it_is_the_outcome(self, stream):
        events = await collect(run_of(self.models(BROKEN), scorer=Judge(0.0), stream=stream))
        assert [type(event) for event in events] == [TierResult, TierResult, Outcome]
        outcome = events[-1]
        assert isinstance(outcome, Outcome)
        assert (outcome.answer, outcome.answered_by, outcome.replaced) == (BROKEN, "t", None)

    @pytest.mark.parametrize("stream", [False, True])
    async def test_the_best_member_stands_in_if_the_cascade_allows_it(self, stream):
        run = run_of(self.models(BROKEN), scorer=Judge(0.0), stream=stream, fallback=True)
        events = await collect(run)
        assert events[-2] == Delta("x", 10, 2)
        outcome = events[-1]
        assert isinstance(outcome, Outcome)
        assert (outcome.answer, outcome.answered_by, outcome.replaced) == (said("x"), "a", BROKEN)
        assert kinds(run) == {"a": "ok", "b": "ok", "t": "error"}

    async def test_no_member_stands_in_once_text_was_shown(self):
        run = run_of(self.models(STREAM[0], BROKEN), scorer=Judge(0.0), stream=True, fallback=True)
        *_, outcome = await collect(run)
        assert isinstance(outcome, Outcome)
        assert (outcome.answer, outcome.replaced) == (BROKEN, None)

    async def test_a_delta_without_text_shows_nothing(self):
        run = run_of(self.models(Delta("", 12, 0), BROKEN), scorer=Judge(0.0), stream=True, fallback=True)
        outcome = await run_cascade(run)
        assert (outcome.answered_by, outcome.replaced) == ("a", BROKEN)

    async def test_no_member_has_an_answer(self):
        models = {"a": Fake(said("")), "b": Fake(BROKEN), "t": Fake(BROKEN)}
        outcome = await run_cascade(run_of(models, fallback=True))
        assert (outcome.answer, outcome.answered_by, outcome.replaced) == (BROKEN, "t", None)

    @pytest.mark.parametrize(("middle", "who"), [(said("w"), "d"), (BROKEN, "a")])
    async def test_the_best_of_the_last_tier_that_has_one(self, middle, who):
        tiers = (TIER, Tier(("c", "d"), signal="exact", threshold=0.5), TARGET)
        models = self.models(BROKEN) | {"c": Fake(BROKEN), "d": Fake(middle)}
        outcome = await run_cascade(run_of(models, tiers, scorer=Judge(0.0), fallback=True))
        assert (outcome.answered_by, outcome.replaced) == (who, BROKEN)

    async def test_every_member_is_waited_for_that_might_stand_in(self):
        models = {"a": Fake(BROKEN), "b": Fake(0.02, said("y")), "t": Fake(BROKEN)}
        outcome = await run_cascade(run_of(models, fallback=True))
        assert (outcome.answered_by, outcome.reason) == ("b", "too_few_answers")


class TestTimeouts:
    async def test_a_late_member_fails_and_the_others_decide(self):
        tier = Tier(("a", "b", "c"), signal="exact", threshold=0.5, timeout_s=0.1)
        models = {"a": Fake(said("x")), "b": Fake(HANG), "c": Fake(said("x"))}
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
        monkeypatch.setattr("serve_app.core.run.GRACE_S", HANG)
        own = Failure("timeout", "I know what I spent.", 10, 3)
        models = {"a": Fake(0.05, own), "t": Fake(said("z"))}
        tiers = (Tier(("a",), signal="exact", timeout_s=0.01), Tier(("t",), timeout_s=4.0))
        outcome = await run_cascade(run_of(models, tiers))
        assert outcome.tiers[0].calls == (Call("a", own),)
        assert [fake.prompts[0].timeout_s for fake in models.values()] == [0.01, 4.0]

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_late_target_fails(self, stream):
        target = Fake(HANG, said("z"))
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
        models = {"a": Fake(gone), "b": Fake(said("x")), "t": Fake(said("z"))}
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
        models = {"a": Fake(said("x")), "b": Fake(said("y")), "t": Fake(HANG)}
        run = run_of(models, (TIER, Tier(("t",), timeout_s=0.05)), scorer=Judge(0.0), fallback=True)
        outcome = await run_cascade(run)
        assert outcome.answered_by == "a"
        assert outcome.replaced is not None
        assert outcome.replaced.kind == "timeout"


class TestCancelling:
    async def test_while_members_run(self):
        models = {"a": Fake(said("x", 10, 4)), "b": Fake(HANG), "c": Fake(HANG), "t": Fake(said("z"))}
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
        await asyncio.wait_for(slow.stopping.wait(), 60)
        await cancel(task)
        assert kinds(run) == {"a": "cancelled", "b": "cancelled"}

    async def test_while_lost_members_are_being_stopped(self):
        slow = Stubborn(HANG)
        run = run_of({"a": Fake(BROKEN), "b": slow})
        task = asyncio.create_task(run_cascade(run))
        await asyncio.wait_for(slow.stopping.wait(), 60)
        await cancel(task)
        assert kinds(run) == {"a": "error", "b": "cancelled"}

    async def test_while_the_scorer_runs(self):
        scorer = Judge(delay_s=HANG)
        run = run_of({"a": Fake(said("x")), "b": Fake(said("y"))}, scorer=scorer)
        task = asyncio.create_task(run_cascade(run))
        await begun(scorer)
        await cancel(task)
        assert scorer.stopped == 1
        assert kinds(run) == {"a": "ok", "b": "ok"}

    @pytest.mark.parametrize("stream", [False, True])
    async def test_while_the_target_has_said_nothing(self, stream):
        models = {"a": Fake(said("x", 10, 4)), "b": Fake(said("y", 9, 6)), "t": Fake(HANG)}
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
        await asyncio.wait_for(shown.wait(), 60)
        await asyncio.sleep(0)  # back to waiting for the third delta
        await cancel(task)
        assert target.stopped == 1
        assert kinds(run) == {"t": "cancelled"}
        spent = run.calls[0].answer
        assert isinstance(spent, Failure)
        assert (spent.estimated, spent.prompt_tokens, spent.completion_tokens) == (False, 12, 2)

    async def test_by_closing_the_generator(self):
        target = Fake(*STREAM)
        run = run_of({"a": Fake(said("x")), "b": Fake(said("y")), "t": target}, scorer=Judge(0.0), stream=True)
        events = cascade_events(run)
        while not isinstance(await anext(events), Delta):
            pass
        await events.aclose()
        assert target.stopped == 1
        assert kinds(run) == {"a": "ok", "b": "ok", "t": "cancelled"}
        assert run.calls[-1].answer.completion_tokens == 1

    async def test_by_closing_the_generator_between_the_tiers(self):
        run = run_of({"a": Fake(said("x")), "b": Fake(said("y")), "t": Fake(said("z"))}, scorer=Judge(0.0))
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
    @pytest.mark.parametrize("others", [HANG, 0.0, 0.02])
    async def test_in_a_member(self, others, fallback):
        models = {"a": Fake(RuntimeError("bug")), "b": Fake(others, said("x")), "c": Fake(others, said("x"))}
        run = run_of(models, (TRIO, TARGET), fallback=fallback)
        with pytest.raises(RuntimeError, match="bug"):
            await run_cascade(run)
        assert run.calls[0].model in models
        assert set(kinds(run)) == {"a", "b", "c"}
        if others == HANG:
            assert [fake.stopped for fake in models.values()] == [0, 1, 1]
            assert kinds(run) == {"a": "cancelled", "b": "cancelled", "c": "cancelled"}

    @pytest.mark.parametrize("force", [None, "accept", "defer"])
    async def test_in_the_member_that_ends_last(self, force):
        models = {"a": Fake(said("x")), "b": Fake(0.02, RuntimeError("bug")), "t": Fake(said("z"))}
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

        run = run_of({"a": Fake(BROKEN), "b": Sloppy(HANG), "t": Fake(said("z"))})
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
        run = run_of({"a": Fake(said("x")), "b": Fake(said("y"))}, scorer=Judge(RuntimeError("bug")))
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
    models = {"a": Fake(0.01, BROKEN), "b": Fake(HANG), "t": Fake(said("z"))}
    outcome = await run_cascade(Run(prompt, (TIER, TARGET), models, Judge(), speeds=speeds))
    assert outcome.tiers[0].calls[1].answer.completion_tokens == 3  # by its speed far more, but it may not say more


async def test_times_are_measured():
    run = run_of({"a": Fake(0.03, said("x")), "b": Fake(said("x"))}, scorer=Judge(delay_s=0.02))
    outcome = await run_cascade(run)
    (result,) = outcome.tiers
    assert result.scoring_s >= 0.02
    assert outcome.total_s >= result.elapsed_s >= 0.05
