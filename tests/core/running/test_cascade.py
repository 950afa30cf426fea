"""The cascade: what is accepted, deferred, refused and streamed, and what a failed target comes to."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from math import nan

import pytest

from serve_app.core.running.cascade import cascade_events, run_cascade
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.outcome import Call, Outcome, TierResult
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt, Sampling, ToolCall
from serve_app.core.types.scores import Scores
from serve_app.errors import SignalError
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
    Step,
    begun,
    collect,
    kinds,
    quiet,
    reply,
    run_of,
)

__all__ = ["quiet"]

REFUSED = Failure("refused", "No such format.", param="response_format")


class TestRefusing:
    """A request that a model cannot honour would only fail again: nobody else is asked."""

    @pytest.mark.parametrize("fallback", [False, True])
    async def test_a_member_that_refuses_ends_the_request(self, fallback: bool):
        models = {"a": Fake(HANG), "b": Fake(0.01, REFUSED), "t": Fake(reply("Paris"))}
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
        assert scorer.requests == []

    @pytest.mark.parametrize("stream", [False, True])
    async def test_members_that_honoured_it_may_stand_in_for_a_target_that_does_not(self, stream: bool):
        models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "t": Fake(REFUSED)}
        outcome = await run_cascade(run_of(models, scorer=Judge(0.0), fallback=True, stream=stream))
        assert (outcome.answer, outcome.answered_by, outcome.replaced) == (reply("x"), "a", REFUSED)
        outcome = await run_cascade(run_of(models, scorer=Judge(0.0), stream=stream))
        assert (outcome.answer, outcome.answered_by) == (REFUSED, "t")


class TestAccepting:
    async def test_the_central_answer_goes_back_and_the_target_is_never_called(self):
        models = {"a": Fake(reply("Paris")), "b": Fake(reply("paris")), "t": Fake(reply("Paris!"))}
        run = run_of(models, scorer=Judge(0.75))
        result, delta, outcome = await collect(run)
        assert isinstance(result, TierResult)
        assert result.calls == (Call("a", reply("Paris")), Call("b", reply("paris")))
        assert (result.decision.accepted, result.decision.reason, result.decision.agreement) == (
            True,
            "agreement",
            0.75,
        )
        assert result.scores == Scores(((1.0, 0.75), (0.75, 1.0)), flops=7.0, device_s=0.5)
        assert delta == Delta("Paris", 10, 2)
        assert isinstance(outcome, Outcome)
        assert (outcome.answer, outcome.answered_by, outcome.tiers) == (reply("Paris"), "a", (result,))
        assert (outcome.deferred, outcome.reason, outcome.replaced) == (False, "agreement", None)
        assert models["t"].prompts == []
        assert kinds(run) == {"a": "ok", "b": "ok"}

    async def test_members_are_asked_at_once(self):
        class Meeting(Fake):
            async def generate(self, prompt: Prompt) -> Answer:
                self._enter(prompt)
                await begun(*models.values())
                return reply("Paris")

        models: dict[str, Fake] = {"a": Meeting(), "b": Meeting(), "c": Meeting()}
        assert (await run_cascade(run_of(models, (TRIO, TARGET)))).answered_by == "a"

    async def test_answers_stay_in_the_order_of_the_config(self):
        models = {"a": Fake(0.02, reply("slow")), "b": Fake(reply("fast"))}
        scorer = Judge(0.75)
        outcome = await run_cascade(run_of(models, scorer=scorer))
        assert [call.model for call in outcome.tiers[0].calls] == ["a", "b"]
        assert scorer.requests == [("exact", ["slow", "fast"])]
        assert outcome.answer == reply("slow")

    async def test_an_accepted_answer_streams_whole(self):
        run = run_of({"a": Fake(*STREAM), "b": Fake(*STREAM)}, stream=True)
        deltas = [event for event in await collect(run) if isinstance(event, Delta)]
        assert deltas == [Delta("Paris", 12, 2)]

    @pytest.mark.parametrize(("threshold", "model"), [(0.75, "a"), (0.750000001, "t")])
    async def test_agreement_equal_to_the_threshold_accepts(self, threshold, model):
        tier = Tier(("a", "b"), signal="exact", threshold=threshold)
        models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "t": Fake(reply("z"))}
        assert (await run_cascade(run_of(models, (tier, TARGET), scorer=Judge(0.75)))).answered_by == model

    async def test_forced(self):
        models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "t": Fake(reply("z"))}
        accepted = await run_cascade(run_of(models, scorer=Judge(0.0), force="accept"))
        assert (accepted.answered_by, accepted.reason) == ("a", "forced")
        deferred = await run_cascade(run_of(models, scorer=Judge(1.0), force="defer"))
        assert (deferred.answered_by, deferred.reason, deferred.deferred) == ("t", "forced", True)

    async def test_forced_to_accept_waits_for_the_only_answer(self):
        models = {"a": Fake(BROKEN), "b": Fake(0.02, reply("y")), "t": Fake(reply("z"))}
        outcome = await run_cascade(run_of(models, force="accept"))
        assert (outcome.answered_by, outcome.reason) == ("b", "forced")

    async def test_forced_to_accept_with_nothing_to_accept_defers(self):
        models = {"a": Fake(BROKEN), "b": Fake(reply(" ")), "t": Fake(reply("z"))}
        outcome = await run_cascade(run_of(models, force="accept"))
        assert (outcome.answered_by, outcome.reason) == ("t", "too_few_answers")

    @pytest.mark.parametrize(("parallel", "count"), [(True, 2), (False, 1)])
    @pytest.mark.parametrize("stream", [False, True])
    async def test_further_calls_are_dropped_where_one_is_wanted(self, parallel, count, stream):
        calls = (ToolCall("1", "f", "{}"), ToolCall("2", "f", "{}"))
        answer = replace(reply(""), finish_reason="tool_calls", tool_calls=calls)
        prompt = replace(PROMPT, parallel_tool_calls=parallel)
        run = run_of({"t": Fake(answer)}, (TARGET,), prompt=prompt, stream=stream)
        outcome = await run_cascade(run)
        assert outcome.answer == replace(answer, tool_calls=calls[:count])
        assert run.calls == [Call("t", outcome.answer)]

    async def test_runs_under_plain_asyncio(self):
        run = run_of({"a": Fake(reply("x")), "b": Fake(reply("x"))})
        outcome = await asyncio.to_thread(lambda: asyncio.run(run_cascade(run)))
        assert outcome.answered_by == "a"


class TestDeferring:
    async def test_the_target_answers(self):
        models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "t": Fake(reply("z", 12, 3))}
        run = run_of(models, scorer=Judge(0.25))
        first, delta, last, outcome = await collect(run)
        assert isinstance(first, TierResult)
        assert isinstance(last, TierResult)
        assert isinstance(outcome, Outcome)
        assert (first.decision.accepted, first.decision.reason) == (False, "disagreement")
        assert delta == Delta("z", 12, 3)
        assert (last.decision.accepted, last.decision.reason, last.judged) == (True, "last_tier", None)
        assert (outcome.answer, outcome.answered_by, outcome.tiers) == (reply("z", 12, 3), "t", (first, last))
        assert (outcome.deferred, outcome.reason) == (True, "disagreement")
        assert kinds(run) == {"a": "ok", "b": "ok", "t": "ok"}

    async def test_three_tiers(self):
        middle = Tier(("c", "d"), signal="rouge1", threshold=0.5)
        models = {name: Fake(reply(name)) for name in "abcdt"}
        scorer = Judge(0.25)
        outcome = await run_cascade(run_of(models, (TIER, middle, TARGET), scorer=scorer))
        assert outcome.answered_by == "t"
        assert [result.decision.reason for result in outcome.tiers] == ["disagreement", "disagreement", "last_tier"]
        assert scorer.requests == [("exact", ["a", "b"]), ("rouge1", ["c", "d"])]

    async def test_the_middle_tier_accepts(self):
        middle = Tier(("c", "d"), signal="exact", threshold=0.25)
        models = {name: Fake(reply(name)) for name in "abcdt"}
        outcome = await run_cascade(run_of(models, (TIER, middle, TARGET), scorer=Judge(0.25)))
        assert (outcome.answered_by, outcome.deferred, outcome.reason) == ("c", True, "disagreement")
        assert models["t"].prompts == []

    async def test_a_target_alone(self):
        outcome = await run_cascade(run_of({"t": Fake(reply("z"))}, (TARGET,)))
        assert (outcome.answered_by, outcome.deferred, outcome.reason) == ("t", False, "last_tier")

    async def test_nan_defers(self):
        models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "t": Fake(reply("z"))}
        outcome = await run_cascade(run_of(models, scorer=Judge(nan)))
        assert (outcome.answered_by, outcome.reason) == ("t", "disagreement")

    @pytest.mark.parametrize("error", [SignalError("No such signal."), SignalError("The scorer is down.")])
    async def test_a_failed_scorer_defers(self, error):
        models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "t": Fake(reply("z"))}
        outcome = await run_cascade(run_of(models, scorer=Judge(error)))
        assert (outcome.answered_by, outcome.reason) == ("t", "scorer_failed")
        assert outcome.tiers[0].scorer_error == str(error)
        assert outcome.tiers[0].scores is None

    async def test_empty_answers_are_not_worth_scoring(self):
        models = {"a": Fake(reply("")), "b": Fake(reply(" \n")), "t": Fake(reply("z"))}
        scorer = Judge(1.0)
        outcome = await run_cascade(run_of(models, scorer=scorer))
        assert (outcome.answered_by, outcome.reason) == ("t", "nothing_to_return")
        assert scorer.requests == []

    async def test_a_failed_member_leaves_the_others_to_agree(self):
        models = {"a": Fake(reply("x")), "b": Fake(BROKEN), "c": Fake(reply("x")), "t": Fake(reply("z"))}
        scorer = Judge(0.0)
        run = run_of(models, (TRIO, TARGET), scorer=scorer)
        outcome = await run_cascade(run)
        assert (outcome.answered_by, outcome.tiers[0].decision.agreement) == ("a", 1.0)
        assert scorer.requests == [("exact", ["x", "x"])]
        assert outcome.tiers[0].calls[1] == Call("b", BROKEN)
        assert kinds(run) == {"a": "ok", "b": "error", "c": "ok"}

    async def test_too_few_answers_defer_at_once(self):
        """The slow member sees its cancellation, and is charged as an estimate."""
        slow = Fake(HANG, reply("x"))
        models = {"a": Fake(reply("x", 10, 4)), "b": Fake(BROKEN), "c": slow, "t": Fake(reply("z"))}
        scorer = Judge()
        tier = Tier(("a", "b", "c"), signal="exact", threshold=0.5, min_answers=3)
        run = run_of(models, (tier, TARGET), scorer=scorer)
        outcome = await run_cascade(run)
        assert (outcome.answered_by, outcome.reason) == ("t", "too_few_answers")
        assert slow.stopped == 1
        assert scorer.requests == []
        assert kinds(run) == {"a": "ok", "b": "error", "c": "cancelled", "t": "ok"}
        failure = outcome.tiers[0].calls[2].answer
        assert isinstance(failure, Failure)
        assert (failure.estimated, failure.prompt_tokens, failure.completion_tokens) == (True, 10, 4)
        assert "nothing to accept" in failure.message

    @pytest.mark.parametrize("answer", [BROKEN, reply(" ")])
    async def test_a_fixed_model_without_an_answer_ends_the_tier(self, answer):
        slow, scorer = Fake(HANG), Judge()
        models = {"a": Fake(answer), "b": Fake(reply("x")), "c": slow, "t": Fake(reply("z"))}
        outcome = await run_cascade(run_of(models, (replace(TRIO, select="a"), TARGET), scorer=scorer))
        assert (outcome.answered_by, outcome.reason) == ("t", "nothing_to_return")
        assert (slow.stopped, scorer.requests) == (1, [])

    async def test_a_fixed_model_that_is_still_at_work_is_waited_for(self):
        models = {"a": Fake(0.02, reply("x")), "b": Fake(reply("x")), "c": Fake(BROKEN)}
        assert (await run_cascade(run_of(models, (replace(TRIO, select="a"), TARGET)))).answered_by == "a"

    async def test_a_cancelled_member_may_say_what_it_spent(self):
        spent = Failure("cancelled", "Stopped.", 11, 7)
        models = {"a": Fake(BROKEN), "b": Fake(HANG, parting=spent), "t": Fake(reply("z"))}
        outcome = await run_cascade(run_of(models))
        assert outcome.tiers[0].calls[1].answer == spent

    async def test_enough_answers_can_still_come(self):
        models = {"a": Fake(BROKEN), "b": Fake(0.02, reply("x")), "c": Fake(0.01, reply("x"))}
        assert (await run_cascade(run_of(models, (TRIO, TARGET)))).answered_by == "b"

    async def test_one_member_and_a_signal_is_asked_and_defers(self):
        models = {"a": Fake(reply("x")), "t": Fake(reply("z"))}
        outcome = await run_cascade(run_of(models, (Tier(("a",), signal="exact"), TARGET)))
        assert (outcome.answered_by, outcome.reason) == ("t", "too_few_answers")
        assert outcome.tiers[0].calls == (Call("a", reply("x")),)

    async def test_truncated_answers_are_discarded_if_the_tier_says_so(self):
        tier = Tier(("a", "b"), signal="exact", truncated="discard")
        models = {"a": Fake(Generation("x", "length", 1, 1)), "b": Fake(HANG), "t": Fake(reply("z"))}
        outcome = await run_cascade(run_of(models, (tier, TARGET)))
        assert (outcome.answered_by, outcome.reason) == ("t", "too_few_answers")
        assert models["b"].stopped == 1


class TestConfidence:
    @pytest.mark.parametrize(("threshold", "model", "reason"), [(-0.5, "a", "confident"), (-0.4, "t", "unsure")])
    async def test_one_member_decides_by_its_confidence(self, threshold, model, reason):
        tier = Tier(("a",), threshold=threshold, confidence=lambda *_: -0.5)
        models = {"a": Fake(reply("x")), "t": Fake(reply("z"))}
        outcome = await run_cascade(run_of(models, (tier, TARGET)))
        assert (outcome.answered_by, outcome.reason) == (model, reason)

    async def test_the_scorer_is_not_asked(self):
        tier = Tier(("a", "b"), threshold=0.0, agreement="mean", confidence=lambda _, answer: float(answer.text))
        scorer = Judge()
        outcome = await run_cascade(
            run_of({"a": Fake(reply("1")), "b": Fake(reply("2"))}, (tier, TARGET), scorer=scorer)
        )
        assert (outcome.answered_by, outcome.tiers[0].decision.agreement) == ("b", 1.5)
        assert scorer.requests == []

    async def test_log_probabilities_are_asked_only_where_they_are_used(self):
        by_confidence = Tier(("a",), threshold=0.0, confidence=lambda *_: -1.0)
        by_signal = Tier(("b", "c"), signal="exact", threshold=0.5)
        models = {name: Fake(reply(name)) for name in "abct"}
        await run_cascade(run_of(models, (by_confidence, by_signal, TARGET), scorer=Judge(0.0)))
        logprobs = {name: fake.prompts[0].sampling.logprobs for name, fake in models.items()}
        assert logprobs == {"a": True, "b": False, "c": False, "t": False}

    async def test_log_probabilities_that_the_request_wants_are_asked_of_all(self):
        models = {name: Fake(reply(name)) for name in "abt"}
        prompt = Prompt(text="x", sampling=Sampling(logprobs=True, max_tokens=5))
        await run_cascade(run_of(models, prompt=prompt, scorer=Judge(0.0)))
        assert [fake.prompts for fake in models.values()] == [[prompt]] * 3


class TestStreaming:
    async def test_nothing_is_shown_before_the_decision_and_then_the_target_as_it_comes(self):
        target = Fake(*STREAM)
        run = run_of({"a": Fake(reply("x")), "b": Fake(reply("y")), "t": target}, scorer=Judge(0.0), stream=True)
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
    MEMBERS = (reply("x"), reply("y"))

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
        assert (outcome.answer, outcome.answered_by, outcome.replaced) == (reply("x"), "a", BROKEN)
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
        models = {"a": Fake(reply("")), "b": Fake(BROKEN), "t": Fake(BROKEN)}
        outcome = await run_cascade(run_of(models, fallback=True))
        assert (outcome.answer, outcome.answered_by, outcome.replaced) == (BROKEN, "t", None)

    @pytest.mark.parametrize(("middle", "model"), [(reply("w"), "d"), (BROKEN, "a")])
    async def test_the_best_of_the_last_tier_that_has_one(self, middle, model):
        tiers = (TIER, Tier(("c", "d"), signal="exact", threshold=0.5), TARGET)
        models = self.models(BROKEN) | {"c": Fake(BROKEN), "d": Fake(middle)}
        outcome = await run_cascade(run_of(models, tiers, scorer=Judge(0.0), fallback=True))
        assert (outcome.answered_by, outcome.replaced) == (model, BROKEN)

    async def test_every_member_is_waited_for_that_might_stand_in(self):
        models = {"a": Fake(BROKEN), "b": Fake(0.02, reply("y")), "t": Fake(BROKEN)}
        outcome = await run_cascade(run_of(models, fallback=True))
        assert (outcome.answered_by, outcome.reason) == ("b", "too_few_answers")
