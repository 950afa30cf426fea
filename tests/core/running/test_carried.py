"""Answers that an earlier tier has are taken over by later ones, and paid once."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.charges import charge
from serve_app.core.cost import Cost, ModelCost, price
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Delta, Failure, Generation, TokenLogprob
from serve_app.core.types.outcome import Budget, Call
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt, Sampling
from tests.core.scripted import (
    BROKEN,
    HANG,
    PROMPT,
    STREAM,
    TARGET,
    Fake,
    Judge,
    Step,
    collect,
    kinds,
    quiet,
    reply,
    run_of,
)

__all__ = ["quiet"]

PAIR = Tier(("a", "b"), signal="exact", threshold=0.5)
TRIO = Tier(("a", "b", "c"), signal="exact", threshold=0.5)
LADDER = (PAIR, TRIO, TARGET)


def sure(_: str, answer: Generation) -> float:
    return -5.0 if answer.logprobs is None else answer.logprobs[0].logprob


async def test_a_third_is_asked_only_if_two_differ():
    models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "c": Fake(reply("x")), "t": Fake()}
    run = run_of(models, LADDER, scorer=Judge(0.0))
    outcome = await run_cascade(run)
    assert (outcome.answered_by, [result.carried for result in outcome.tiers]) == ("a", [(), ("a", "b")])
    assert [len(model.prompts) for model in models.values()] == [1, 1, 1, 0]
    assert kinds(run) == {"a": "ok", "b": "ok", "c": "ok"}
    assert [call.answer for call in outcome.tiers[1].calls] == [reply("x"), reply("y"), reply("x")]


async def test_a_member_that_failed_is_not_asked_again():
    models = {"a": Fake(BROKEN), "b": Fake(reply("x")), "c": Fake(reply("x")), "t": Fake()}
    outcome = await run_cascade(run_of(models, LADDER))
    assert (outcome.answered_by, outcome.tiers[1].calls[0]) == ("b", Call("a", BROKEN))
    assert len(models["a"].prompts) == 1


async def test_a_member_that_still_runs_is_waited_for_by_the_tier_that_needs_it():
    models = {"a": Fake(BROKEN), "b": Fake(0.05, reply("x")), "c": Fake(reply("x")), "t": Fake()}
    run = run_of(models, LADDER)
    outcome = await run_cascade(run)
    answer = outcome.tiers[0].calls[1].answer
    assert isinstance(answer, Failure)
    assert answer.message == "Not waited for: the tier was decided without it."
    assert (outcome.answered_by, models["b"].stopped, len(models["b"].prompts)) == ("b", 0, 1)
    assert kinds(run) == {"a": "error", "b": "ok", "c": "ok"}


async def test_one_that_was_left_to_run_is_stopped_with_the_run():
    models = {"a": Fake(BROKEN), "b": Fake(HANG), "c": Fake(HANG), "d": Fake(HANG), "t": Fake(reply("z"))}
    tiers = (PAIR, Tier(("a", "c"), signal="exact"), Tier(("b", "d"), signal="exact", tier_timeout_s=0.05), TARGET)
    run = run_of(models, tiers)
    assert (await run_cascade(run)).answered_by == "t"
    assert kinds(run) == {"a": "error", "b": "cancelled", "d": "cancelled", "t": "ok"}
    assert models["c"].prompts == []  # its tier was lost before
    assert models["b"].stopped == 1


async def test_a_later_tiers_token_level_signal_has_log_probabilities():
    confident = Generation("x", "stop", 10, 1, logprobs=(TokenLogprob("x", -0.1),))
    scored = Tier(("a", "b"), signal="chow_sum", threshold=-0.5, min_answers=1, confidence=sure)
    models = {"a": Fake(confident), "b": Fake(reply("y")), "c": Fake(reply("z")), "t": Fake()}
    tiers = (Tier(("a", "c"), signal="exact", threshold=0.5), scored, TARGET)
    outcome = await run_cascade(run_of(models, tiers, scorer=Judge(0.0)))
    assert outcome.tiers[1].judged is not None
    assert outcome.tiers[1].judged.output_scores == (-0.1, -5.0)
    logprobs = {name: model.prompts[0].sampling.logprobs for name, model in models.items() if model.prompts}
    assert logprobs == {"a": True, "b": True, "c": False}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_target_that_was_a_member_gives_the_answer_that_it_has(stream):
    models = {"a": Fake(reply("x")), "t": Fake(reply("z"))}
    tiers = (Tier(("a", "t"), signal="exact", threshold=0.5), TARGET)
    run = run_of(models, tiers, scorer=Judge(0.0), stream=stream)
    events = await collect(run)
    assert (events[-1].answer, events[-1].tiers[-1].carried) == (reply("z"), ("t",))
    assert [event.text for event in events if hasattr(event, "text")] == ["z"]
    assert len(models["t"].prompts) == 1


class Recovering(Fake):
    """Plays its script when it is called first, and answers "z" to the next call."""

    def __init__(self, *script: Step) -> None:
        super().__init__(*script)
        self.next = Fake(*STREAM)

    async def generate(self, prompt: Prompt) -> Answer:
        return await (self.next if self.prompts else super()).generate(prompt)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        async for item in (self.next if self.prompts else super()).stream(prompt):
            yield item


@pytest.mark.parametrize("stream", [False, True])
async def test_a_target_that_failed_as_a_member_is_asked_again(stream):
    models = {"a": Fake(reply("x")), "t": Recovering(BROKEN)}
    run = run_of(models, (Tier(("a", "t"), signal="exact"), TARGET), stream=stream)
    outcome = await run_cascade(run)
    assert (outcome.answer, outcome.tiers[-1].carried) == (STREAM[-1], ())
    assert [(call.model, call.answer) for call in run.calls] == [("a", reply("x")), ("t", BROKEN), ("t", STREAM[-1])]


HASTY = Tier(("a", "t"), signal="exact", threshold=0.5, quorum=1, timeout_s=1.0)
"""Defers once one answer is there, too few to compare, and leaves the other model running."""
PATIENT = replace(TARGET, timeout_s=60.0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_target_that_fails_after_its_tier_was_decided_is_asked_again(stream):
    models = {"a": Fake(reply("x")), "t": Recovering(0.02, BROKEN)}
    run = run_of(models, (HASTY, PATIENT), stream=stream)
    events = await collect(run)
    assert (events[-1].answer, events[-1].tiers[-1].carried) == (STREAM[-1], ())
    assert [event.text for event in events if isinstance(event, Delta)] == (["Par", "is"] if stream else ["Paris"])
    assert [call.answer for call in run.calls] == [reply("x"), BROKEN, STREAM[-1]]
    assert (models["t"].prompts[0].timeout_s, models["t"].next.prompts[0].timeout_s) == (1.0, 60.0)


async def test_a_target_that_fails_twice_is_not_asked_a_third_time():
    models = {"a": Fake(reply("x")), "t": Fake(0.02, BROKEN)}
    outcome = await run_cascade(run_of(models, (HASTY, TARGET)))
    assert (outcome.answer, len(models["t"].prompts)) == (BROKEN, 2)


async def test_a_target_that_refuses_after_its_tier_was_decided_is_not_asked_again():
    refusal = Failure("refused", "It cannot see images.")
    models = {"a": Fake(reply("x")), "t": Fake(0.02, refusal)}
    outcome = await run_cascade(run_of(models, (HASTY, TARGET)))
    assert (outcome.answer, len(models["t"].prompts)) == (refusal, 1)


async def test_a_target_whose_text_has_been_shown_is_not_asked_again():
    models = {"a": Fake(reply("x")), "t": Fake(STREAM[0], 0.02, BROKEN)}
    run = run_of(models, (HASTY, TARGET))
    run.watch = lambda _: None  # so that members are streamed, too
    events = await collect(run)
    assert (events[-1].answer, len(models["t"].prompts)) == (BROKEN, 1)
    assert [event for event in events if isinstance(event, Delta)] == [STREAM[0]]


@pytest.mark.parametrize("wait", [(), (0.02,)])
@pytest.mark.parametrize(("flops", "answered_by", "calls"), [(165, "t", 2), (164, "a", 1)])
async def test_a_target_that_failed_as_a_member_is_asked_again_within_the_budget(wait, flops, answered_by, calls):
    """At a FLOP for each token, 12 are spent by a, 100 by the failed call, and another should take 10 + 43."""
    models = {"a": Fake(reply("x")), "t": Recovering(*wait, Failure("error", "Broken.", 10, 90))}
    run = run_of(models, (HASTY, TARGET), prompt=replace(PROMPT, sampling=Sampling(max_tokens=43)))
    run.budget, run.costs = Budget(flops=flops), {"a": ModelCost(0.5), "t": ModelCost(0.5)}
    outcome = await run_cascade(run)
    assert (outcome.answered_by, sum(call.model == "t" for call in run.calls)) == (answered_by, calls)


async def test_an_answer_that_came_while_its_tier_was_decided_needs_no_budget():
    """At a FLOP for each token, 207 are spent on a, b and their comparison; to ask t would take 53 more than 250."""
    judge = Judge(0.0, delay_s=0.05)
    models = {"a": Fake(reply("x", 10, 90)), "b": Fake(reply("y", 10, 90)), "t": Fake(judge.entered, reply("z"))}
    tiers = (Tier(("a", "b", "t"), signal="exact", threshold=0.5, quorum=2), TARGET)
    prompt = replace(PROMPT, sampling=Sampling(max_tokens=43))
    run = run_of(models, tiers, scorer=judge, prompt=prompt)
    run.budget, run.costs = Budget(flops=250), dict.fromkeys("abt", ModelCost(0.5))
    outcome = await run_cascade(run)
    assert (outcome.answer, outcome.replaced, len(models["t"].prompts)) == (reply("z"), None, 1)


SIZES = {name: ModelCost(1e9 * (k + 1), 1.0 * k, 2.0) for k, name in enumerate("abcdt")}
names = st.lists(st.sampled_from("abcd"), min_size=2, max_size=4, unique=True).map(tuple)
answers = st.one_of(
    st.builds(reply, st.sampled_from(["x", "y", ""]), st.integers(1, 9), st.integers(1, 9)),
    st.just(BROKEN),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(names, min_size=1, max_size=4), st.fixed_dictionaries(dict.fromkeys("abcdt", answers)), st.booleans())
def test_the_total_is_what_the_engines_counted(rungs: list[tuple[str, ...]], said_by: dict[str, Answer], stream: bool):
    """Every model that was asked is paid once, whatever tiers named it."""
    models = {name: Fake(answer) for name, answer in said_by.items()}
    tiers = [*(replace(PAIR, models=rung) for rung in rungs), TARGET]
    run = Run(PROMPT, tiers, models, Judge(0.0), stream=stream)
    outcome = asyncio.run(run_cascade(run))
    counted = sum(
        (
            price(SIZES[name], answer.prompt_tokens, answer.completion_tokens, 0.0)
            for name, answer in said_by.items()
            if models[name].prompts
        ),
        Cost(),
    )
    charged = charge(run, outcome, SIZES)
    scoring = sum(result.scores.flops for result in run.results if result.scores)
    assert charged.request.usd == pytest.approx(counted.usd)
    assert charged.request.flops == pytest.approx(counted.flops + scoring)
    assert all(len(model.prompts) <= 1 for model in models.values())
