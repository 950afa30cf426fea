"""A request's budget: what it does not allow is not asked, and the best answer so far goes back."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.charges import charge
from serve_app.core.cost import ModelCost, Speed
from serve_app.core.record import decision_record
from serve_app.core.record_json import to_json
from serve_app.core.running.cascade import run_cascade
from serve_app.core.types.answer import Failure
from serve_app.core.types.outcome import Budget
from serve_app.core.types.prompt import Sampling
from tests.core.scripted import BROKEN, HANG, PROMPT, TARGET, TIER, Fake, Judge, collect, quiet, reply, run_of

__all__ = ["quiet"]

# A member's answer is 12 tokens (10 + 2), 24 FLOPs and .000012 dollars; the target's 10 times that.
COSTS = {
    "a": ModelCost(1.0, 1.0, 1.0),
    "b": ModelCost(1.0, 1.0, 1.0),
    "t": ModelCost(10.0, 10.0, 10.0),
}
SHORT = replace(PROMPT, sampling=Sampling(max_tokens=2))


def budgeted(budget, b="y", target=None, **options):
    models = {"a": Fake(reply("x")), "b": Fake(reply(b)), "t": target or Fake(reply("z"))}
    run = run_of(models, scorer=options.pop("scorer", Judge(0.0)), prompt=SHORT, **options)
    run.budget, run.costs = budget, COSTS
    return run


# Judge charges 7 FLOPs: 24 + 24 + 7 are spent before the target, which should take 240 more.
@pytest.mark.parametrize(
    ("budget", "affordable"),
    [
        (Budget(flops=295), True),
        (Budget(flops=294), False),
        (Budget(usd=0.000145), True),
        (Budget(usd=0.000143), False),
        (Budget(), True),
    ],
)
async def test_the_target_is_asked_if_it_can_be_afforded(budget, affordable):
    run = budgeted(budget)
    outcome = await run_cascade(run)
    assert (outcome.answered_by, len(run.models["t"].prompts)) == (("t", 1) if affordable else ("a", 0))
    if affordable:
        assert outcome.replaced is None
        return
    assert isinstance(outcome.replaced, Failure)
    assert outcome.replaced.kind == "unaffordable"
    assert outcome.deferred
    record = to_json(decision_record("default", run, outcome, charge(run, outcome, COSTS)))
    assert record["replaced"]["model"] == "t"
    assert [tier["models"] for tier in record["tiers"]] == [["a", "b"], ["t"]]


async def test_the_message_has_the_figures():
    outcome = await run_cascade(budgeted(Budget(flops=200)))
    assert outcome.replaced is not None
    assert outcome.replaced.message == "Not asked: it should take 240 FLOPs more, and of max_flops (200) 55 are spent."
    assert outcome.replaced.param == "cascade.max_flops"


async def test_an_accepted_request_needs_no_more():
    run = budgeted(Budget(flops=60), b="x", scorer=Judge(1.0))
    assert (await run_cascade(run)).replaced is None


@pytest.mark.parametrize("stream", [False, True])
async def test_a_first_tier_that_is_too_dear_fails(stream):
    run = budgeted(Budget(usd=1e-9), stream=stream)
    events = await collect(run)
    failure = events[-1].answer
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param, run.calls) == ("unaffordable", "cascade.max_cost_usd", [])


async def test_no_answer_so_far_is_the_budgets_failure():
    run = budgeted(Budget(flops=60))
    run.models = run.models | {"a": Fake(BROKEN), "b": Fake(BROKEN)}
    answer = (await run_cascade(run)).answer
    assert isinstance(answer, Failure)
    assert answer.kind == "unaffordable"


async def test_seconds_limit_every_call():
    run = budgeted(Budget(seconds=0.1), target=Fake(HANG))
    outcome = await run_cascade(run)
    assert (outcome.answered_by, outcome.replaced and outcome.replaced.kind) == ("a", "timeout")
    assert 0 < run.models["a"].prompts[0].timeout_s <= 0.1
    assert run.models["t"].stopped == 1


@pytest.mark.parametrize(
    ("budget", "field"),
    [
        (Budget(seconds=5), "cascade.max_latency_s"),
        (Budget(seconds=5, seconds_field="x-request-timeout-s"), "x-request-timeout-s"),
    ],
)
async def test_a_target_that_would_be_late_is_not_asked(budget: Budget, field: str):
    run = budgeted(budget)
    slow = Speed()
    slow.prompt_token_s, slow.token_s = 1.0, 0.0
    run.speeds = {"t": slow}
    outcome = await run_cascade(run)
    assert outcome.replaced is not None
    assert (outcome.replaced.param, run.models["t"].prompts) == (field, [])
    assert f" of {field.removeprefix('cascade.')} (5) " in outcome.replaced.message


async def test_usual_lengths_count_if_the_request_sets_none():
    speeds = {"t": Speed()}
    speeds["t"].observe(reply("long", 10, 100))
    run = budgeted(Budget(flops=2254))  # 55 + 2 x 10 x (10 + 100)
    run.prompt, run.speeds = PROMPT, speeds
    assert (await run_cascade(run)).answered_by == "a"
    run = budgeted(Budget(flops=2255))
    run.prompt, run.speeds = PROMPT, speeds
    assert (await run_cascade(run)).answered_by == "t"


@settings(max_examples=50, deadline=None)
@given(st.floats(1, 1000), st.booleans(), st.sampled_from("xy"))
def test_answers_as_long_as_expected_keep_within_the_budget(flops, stream, second):
    run = budgeted(Budget(flops=flops), b=second, stream=stream)
    outcome = asyncio.run(run_cascade(run))
    assert (charge(run, outcome, COSTS).request.flops or 0) <= flops + 7  # a comparison is not foreseen


async def test_nothing_is_asked_ahead():
    class Eager:
        def delay_s(self, number, prompt):
            return 0.0

        def may_start(self, tier):
            return True

    run = budgeted(Budget(flops=60))
    run.models = run.models | {"a": Fake(0.05, reply("x"))}
    run.speculation = Eager()
    await run_cascade(run)
    assert run.models["t"].prompts == []
    assert TARGET.models == ("t",)
    assert TIER.models == ("a", "b")
