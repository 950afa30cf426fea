"""A request whose like was nearly always deferred, or accepted, goes straight to one model."""

import asyncio
from dataclasses import replace

import pytest

from serve_app.core.charges import charge
from serve_app.core.cost import ModelCost
from serve_app.core.record import decision_record
from serve_app.core.record_json import to_json
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.progress import CallDelta, CallEnded, CallStarted, TierStarted
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Delta, Failure, Generation
from serve_app.core.types.outcome import Budget, Outcome, Precheck
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt, ToolCall
from tests.core.scripted import BROKEN, STREAM, TARGET, TIER, Fake, Judge, cancel, collect, kinds, quiet, reply, run_of

__all__ = ["quiet"]

DEFERRED = Precheck("deferred", 25, 0.96, flops=3.0)
ACCEPTED = Precheck("accepted", 25, 0.0, "b", flops=3.0)
NEITHER = Precheck(None, 25, 0.4, flops=3.0)


class Past:
    """A prechecker that always says the same."""

    def __init__(self, precheck: Precheck) -> None:
        self.precheck = precheck
        self.prompts: list[Prompt] = []

    async def check(self, prompt: Prompt) -> Precheck:
        self.prompts.append(prompt)
        return self.precheck


def models() -> dict[str, Fake]:
    return {"a": Fake(reply("Rome")), "b": Fake(reply("Paris")), "t": Fake(*STREAM)}


def skipping(precheck: Precheck, fakes: dict[str, Fake] | None = None, **options) -> Run:
    run = run_of(fakes or models(), scorer=Judge(0.0), **options)
    run.prechecker = Past(precheck)
    return run


def reported(run: Run, outcome: Outcome) -> dict[str, object]:
    prices = dict.fromkeys("abt", ModelCost(parameters=1.0))
    return to_json(decision_record("default", run, outcome, charge(run, outcome, prices)))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_deferral_asks_the_target_alone(stream: bool) -> None:
    run = skipping(DEFERRED, stream=stream)
    events = await collect(run)
    outcome = events[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.answer, outcome.answered_by, outcome.deferred, outcome.reason) == (STREAM[-1], "t", True, "skipped")
    assert kinds(run) == {"t": "ok"}
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "Paris"
    assert run.first_text_s is not None
    record = reported(run, outcome)
    assert record["skipped"] == {"verdict": "deferred", "neighbours": 25, "deferred_share": 0.96}
    assert record["tiers"] == [{"models": ["t"]}]
    assert record["cost"]["flops"] == 2.0 * 14 + 3.0


@pytest.mark.parametrize("stream", [False, True])
async def test_an_acceptance_asks_one_member_alone(stream: bool) -> None:
    fakes = models() | {"b": Fake(*STREAM)}
    run = skipping(ACCEPTED, fakes, stream=stream)
    events = await collect(run)
    outcome = events[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.answered_by, outcome.deferred, outcome.reason) == ("b", False, "skipped")
    assert kinds(run) == {"b": "ok"}
    assert [event.text for event in events if isinstance(event, Delta)] == (["Par", "is"] if stream else ["Paris"])
    record = reported(run, outcome)
    assert record["skipped"] == {"verdict": "accepted", "neighbours": 25, "deferred_share": 0.0, "member": "b"}
    assert (record["deferred"], record["tiers"]) == (False, [{"models": ["b"]}])


async def test_a_watcher_sees_one_tier_of_one_model() -> None:
    reports: list[object] = []
    run = skipping(ACCEPTED, models() | {"b": Fake(*STREAM)}, stream=True)
    run.watch = reports.append
    await run_cascade(run)
    assert [type(progress) for progress in reports] == [TierStarted, CallStarted, CallDelta, CallDelta, CallEnded]
    assert reports[0] == TierStarted(0, Tier(("b",)))


async def test_the_member_has_its_tiers_time_limit() -> None:
    run = skipping(ACCEPTED)
    run.tiers = (replace(TIER, timeout_s=7.0), TARGET)
    await run_cascade(run)
    [prompt] = run.models["b"].prompts
    assert prompt.timeout_s == 7.0


async def test_without_a_verdict_the_cascade_runs_and_the_look_up_is_charged() -> None:
    run, plain = skipping(NEITHER), run_of(models(), scorer=Judge(0.0))
    outcome, plain_outcome = await run_cascade(run), await run_cascade(plain)
    assert (outcome.answer, outcome.answered_by, outcome.reason) == (
        plain_outcome.answer,
        plain_outcome.answered_by,
        plain_outcome.reason,
    )
    assert outcome.skipped is None
    assert kinds(run) == {"a": "ok", "b": "ok", "t": "ok"}
    record, without = reported(run, outcome), reported(plain, plain_outcome)
    assert "skipped" not in record
    assert record["cost"]["flops"] == without["cost"]["flops"] + 3.0


@pytest.mark.parametrize("changed", ["force", "escalated", "budget"])
async def test_what_a_request_or_its_session_says_goes_first(changed: str) -> None:
    run = skipping(ACCEPTED)
    values = {"force": "defer", "escalated": True, "budget": Budget(seconds=1e6)}
    setattr(run, changed, values[changed])
    run.costs = dict.fromkeys("abt", ModelCost())
    outcome = await run_cascade(run)
    assert outcome.answered_by == "t"
    assert (run.prechecker.prompts, run.precheck, outcome.skipped) == ([], None, None)


async def test_if_the_member_fails_the_cascade_runs_and_does_not_ask_it_again() -> None:
    fakes = models() | {"b": Fake(BROKEN)}
    run = skipping(ACCEPTED, fakes)
    outcome = await run_cascade(run)
    assert (outcome.answered_by, outcome.reason, outcome.skipped) == ("t", "too_few_answers", None)
    assert kinds(run) == {"b": "error", "t": "ok"}
    assert len(fakes["b"].prompts) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("empty", [reply(""), replace(reply(" \n"), reasoning="Hm.")])
async def test_if_the_member_has_no_answer_the_cascade_runs(empty: Generation, stream: bool) -> None:
    fakes = models() | {"b": Fake(empty)}
    run = skipping(ACCEPTED, fakes, stream=stream)
    events = await collect(run)
    outcome = events[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.answered_by, outcome.reason, outcome.skipped) == ("t", "disagreement", None)
    assert "".join(event.text for event in events if isinstance(event, Delta)) == "Paris"
    assert (kinds(run), len(fakes["b"].prompts)) == ({"a": "ok", "b": "ok", "t": "ok"}, 1)


async def test_a_member_that_calls_a_tool_has_answered() -> None:
    call = replace(reply(""), tool_calls=(ToolCall("1", "weather", "{}"),))
    assert (await run_cascade(skipping(ACCEPTED, models() | {"b": Fake(call)}))).answer == call


async def test_reasoning_that_was_streamed_is_not_retracted() -> None:
    empty = replace(reply(""), reasoning="Hm.")
    run = skipping(ACCEPTED, models() | {"b": Fake(Delta("", 10, 1, reasoning="Hm."), empty)}, stream=True)
    assert (await run_cascade(run)).answer == empty


async def test_a_member_that_refuses_ends_the_request() -> None:
    fakes = models() | {"b": Fake(Failure("refused", "No.", param="n"))}
    run = skipping(ACCEPTED, fakes)
    outcome = await run_cascade(run)
    assert isinstance(outcome.answer, Failure)
    assert (outcome.answer.kind, kinds(run)) == ("refused", {"b": "refused"})


async def test_text_that_was_streamed_is_not_retracted() -> None:
    fakes = models() | {"b": Fake(STREAM[0], BROKEN)}
    run = skipping(ACCEPTED, fakes, stream=True)
    outcome = await run_cascade(run)
    assert outcome.answer == BROKEN
    assert kinds(run) == {"b": "error"}


async def test_several_answers_are_the_members() -> None:
    run = skipping(ACCEPTED)
    run.choices = 3
    outcome = await run_cascade(run)
    assert (len(outcome.returned), {call.model for call in run.calls}) == (3, {"b"})


async def test_a_client_that_leaves_during_the_look_up_costs_nothing() -> None:
    class Slow(Past):
        async def check(self, prompt: Prompt) -> Precheck:
            self.prompts.append(prompt)
            entered.set()
            await asyncio.Event().wait()
            raise AssertionError

    entered, run = asyncio.Event(), skipping(DEFERRED)
    run.prechecker = Slow(DEFERRED)
    task = asyncio.create_task(run_cascade(run))
    await entered.wait()
    await cancel(task)
    assert run.calls == []


async def test_a_member_of_a_later_tier_may_answer() -> None:
    run = skipping(replace(ACCEPTED, member="c"), models() | {"c": Fake(reply("Oslo"))})
    run.tiers = (TIER, Tier(("a", "c"), signal="exact", threshold=0.5), TARGET)
    assert (await run_cascade(run)).answered_by == "c"
    assert kinds(run) == {"c": "ok"}
