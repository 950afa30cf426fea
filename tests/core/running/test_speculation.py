"""The next tier is asked before it is known to be needed, and stopped if it is not."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from serve_app.core.charges import charge
from serve_app.core.cost import ModelCost
from serve_app.core.record import decision_record
from serve_app.core.running.cascade import run_cascade
from serve_app.core.types.answer import Delta, Failure
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt
from tests.core.deciding.worlds import EXACT
from tests.core.scripted import (
    BROKEN,
    HANG,
    STREAM,
    TARGET,
    TIER,
    Fake,
    Judge,
    begun,
    cancel,
    collect,
    kinds,
    quiet,
    reply,
    run_of,
)

__all__ = ["quiet"]

ASIDE = Delta("Par", 12, 1)


@dataclass
class After:
    """A speculation with one delay for every tier up to the `last`; it notes the tiers that it was asked about."""

    seconds: float | None = 0.0
    room: bool = True
    last: int = 9
    requests: list[tuple[str, ...]] = field(default_factory=list)

    def delay_s(self, number: int, prompt: Prompt) -> float | None:
        return self.seconds if number <= self.last else None

    def may_start(self, models: Sequence[str]) -> bool:
        self.requests.append(tuple(models))
        return self.room


def speculating(models, tiers=(TIER, TARGET), after=None, **options):
    run = run_of(models, tiers, **options)
    run.speculation = after or After()
    return run


@pytest.mark.parametrize("stream", [False, True])
async def test_an_accepted_request_stops_the_target_and_shows_the_waste(stream):
    target = Fake(ASIDE, HANG)
    models = {"a": Fake(0.05, reply("x")), "b": Fake(reply("x")), "t": target}
    run = speculating(models, stream=stream)
    outcome = await run_cascade(run)
    assert (outcome.answered_by, target.stopped, len(outcome.tiers)) == ("a", 1, 1)
    assert [(call.model, call.wasted) for call in run.calls] == [("a", False), ("b", False), ("t", True)]
    assert isinstance(run.calls[2].answer, Failure)
    costs = dict.fromkeys("abt", ModelCost(1e9, 1.0, 1.0))
    charges = charge(run, outcome, costs)
    assert charges.request.wasted == charges.calls[2]
    if stream:
        assert (run.calls[2].answer.completion_tokens, run.calls[2].answer.estimated) == (1, False)


async def test_an_answer_that_came_too_early_is_wasted_too():
    models = {"a": Fake(0.05, reply("x")), "b": Fake(reply("x")), "t": Fake(reply("z"))}
    run = speculating(models)
    outcome = await run_cascade(run)
    assert (outcome.answered_by, run.calls[2].wasted, run.calls[2].answer) == ("a", True, reply("z"))


async def test_a_deferred_request_has_its_text_at_the_decision():
    target = Fake(*STREAM)
    models = {"a": Fake(0.05, reply("x")), "b": Fake(reply("y")), "t": target}
    run = speculating(models, scorer=Judge(0.0), stream=True)
    events = await collect(run)
    assert [event.text for event in events if isinstance(event, Delta)] == ["Par", "is"]
    assert len(target.prompts) == 1
    assert [call.wasted for call in run.calls] == [False, False, False]
    outcome = events[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.answered_by, outcome.tiers[-1].carried) == ("t", ())


async def test_it_is_not_started_if_the_tier_decides_before():
    target = Fake()
    run = speculating({"a": Fake(reply("x")), "b": Fake(reply("x")), "t": target}, after=After(HANG))
    assert (await run_cascade(run)).answered_by == "a"
    assert target.prompts == []


async def test_it_is_not_started_without_room():
    target, after = Fake(reply("z")), After(room=False)
    models = {"a": Fake(0.05, reply("x")), "b": Fake(reply("x")), "t": target}
    await run_cascade(speculating(models, after=after))
    assert (target.prompts, after.requests) == ([], [("t",)])


async def test_a_forced_decision_is_not_speculated_on():
    target = Fake()
    run = speculating({"a": Fake(0.02, reply("x")), "b": Fake(reply("x")), "t": target}, force="accept")
    await run_cascade(run)
    assert target.prompts == []


@pytest.mark.parametrize("stream", [False, True])
async def test_one_that_failed_is_asked_again_when_it_is_needed(stream):
    class Recovering(Fake):
        async def generate(self, prompt):
            self._enter(prompt)
            return BROKEN if len(self.prompts) == 1 else reply("z")

        async def stream(self, prompt):
            yield await self.generate(prompt)

    target = Recovering()
    run = speculating(
        {"a": Fake(0.05, reply("x")), "b": Fake(reply("y")), "t": target}, scorer=Judge(0.0), stream=stream
    )
    outcome = await run_cascade(run)
    assert (outcome.answer, len(target.prompts)) == (reply("z"), 2)
    assert [(call.model, call.wasted) for call in run.calls] == [("a", False), ("b", False), ("t", True), ("t", False)]


async def test_a_member_that_failed_ahead_is_asked_again_before_its_tier_is_settled():
    class Recovering(Fake):
        async def generate(self, prompt):
            self._enter(prompt)
            return BROKEN if len(self.prompts) == 1 else reply("x")

    second = replace(TIER, models=("a", "b", "c"), signal_range=EXACT)
    models = {"a": Fake(0.05, reply("x")), "b": Fake(reply("y")), "c": Recovering(), "t": Fake()}
    run = speculating(models, (TIER, second, TARGET), After(last=0), scorer=Judge(0.0))
    outcome = await run_cascade(run)
    assert (outcome.answered_by, len(models["c"].prompts)) == ("a", 2)


async def test_an_early_answer_is_kept_for_the_tier_after_next():
    """The second tier is settled without it, by answers that the first one has."""
    second = replace(TIER, models=("a", "b", "t"), threshold=0.6, signal_range=EXACT)
    models = {"a": Fake(0.05, reply("x")), "b": Fake(reply("y")), "t": Fake(reply("z"))}
    run = speculating(models, (TIER, second, TARGET), After(last=0), scorer=Judge(0.0))
    outcome = await run_cascade(run)
    assert (outcome.answer, len(models["t"].prompts)) == (reply("z"), 1)
    assert [(call.model, call.wasted) for call in run.calls] == [("a", False), ("b", False), ("t", False)]


async def test_what_was_asked_for_a_lost_tier_is_stopped_at_once():
    second = Tier(("a", "c"), signal="exact", threshold=0.5)
    models = {"a": Fake(0.02, BROKEN), "b": Fake(reply("y")), "c": Fake(HANG), "t": Fake(0.05, reply("z"))}
    stopped_before: list[int] = []

    class Target(Fake):
        async def generate(self, prompt):
            stopped_before.append(models["c"].stopped)
            return await super().generate(prompt)

    models["t"] = Target(reply("z"))
    run = speculating(models, (TIER, second, TARGET), After(last=0))
    assert (await run_cascade(run)).answered_by == "t"
    assert stopped_before == [1]


async def test_models_that_the_request_asks_already_need_no_room():
    second = replace(TIER, models=("a", "b", "c"))
    models = {"a": Fake(0.05, reply("x")), "b": Fake(reply("y")), "c": Fake(reply("x")), "t": Fake()}
    after = After(last=0)
    await run_cascade(speculating(models, (TIER, second, TARGET), after, scorer=Judge(0.0)))
    assert after.requests == [("c",)]


async def test_a_failed_early_call_does_not_hide_the_answer_in_the_record():
    class Recovering(Fake):
        async def generate(self, prompt):
            self._enter(prompt)
            return BROKEN if len(self.prompts) == 1 else reply("z")

    models = {"a": Fake(0.05, reply("x")), "b": Fake(reply("y")), "t": Recovering()}
    run = speculating(models, scorer=Judge(0.0))
    outcome = await run_cascade(run)
    costs = dict.fromkeys("abt", ModelCost(1e9, 1.0, 1.0))
    record = decision_record("default", run, outcome, charge(run, outcome, costs)).models["t"]
    assert (record.status, record.message, record.calls, record.prompt_tokens) == ("ok", None, 2, 20)


async def test_members_of_a_next_tier_are_asked_early_and_carry_over():
    second = Tier(("a", "c"), signal="exact", threshold=0.5)
    models = {"a": Fake(0.05, reply("x")), "b": Fake(reply("y")), "c": Fake(reply("x")), "t": Fake()}
    run = speculating(models, (TIER, second, TARGET), After(last=0), scorer=Judge(0.0))
    outcome = await run_cascade(run)
    assert (outcome.answered_by, outcome.tiers[1].carried) == ("a", ("a",))
    assert [len(model.prompts) for model in models.values()] == [1, 1, 1, 0]


async def test_a_client_that_leaves_stops_all_of_it():
    models = {"a": Fake(HANG), "b": Fake(HANG), "t": Fake(ASIDE, HANG)}
    run = speculating(models, stream=True)
    task = asyncio.create_task(collect(run))
    await begun(models["t"])
    await cancel(task)
    assert [model.stopped for model in models.values()] == [1, 1, 1]
    assert kinds(run) == {"a": "cancelled", "b": "cancelled", "t": "cancelled"}
    assert [call.wasted for call in run.calls if call.model == "t"] == [True]
