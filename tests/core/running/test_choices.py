"""Several answers of the model whose answer is returned."""

import asyncio
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.charges import charge
from serve_app.core.cost import Cost, ModelCost, price
from serve_app.core.record import decision_record, usage
from serve_app.core.record_json import from_json, to_json
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.prompt import Prompt, Sampling
from tests.core.scripted import (
    BROKEN,
    HANG,
    PROMPT,
    STREAM,
    TARGET,
    Fake,
    Judge,
    cancel,
    collect,
    quiet,
    reply,
    run_of,
)
from tests.patience import PATIENCE_S

__all__ = ["quiet"]


class Varied(Fake):
    """Answers `script[i]` to its i-th call: a text with its length as tokens, a failure, or seconds of no answer."""

    async def generate(self, prompt: Prompt) -> Answer:
        self._enter(prompt)
        step = self.script[len(self.prompts) - 1]
        try:
            if isinstance(step, float):
                await asyncio.sleep(step)
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        assert isinstance(step, Generation | Failure)
        return step


def several(models: dict[str, Any], choices: int, **options: Any) -> Run:
    run = run_of(models, **options)
    run.choices = choices
    return run


def texts(outcome: Outcome) -> list[str]:
    return [answer.text for answer in outcome.returned]


async def test_the_model_that_was_accepted_is_asked_again_and_no_other() -> None:
    models = {
        "a": Varied(reply("Paris"), reply("It is Paris."), reply("Paris!")),
        "b": Fake(reply("Paris")),
        "t": Fake(),
    }
    run = several(models, 3)
    outcome = await run_cascade(run)
    assert texts(outcome) == ["Paris", "It is Paris.", "Paris!"]
    assert [call.model for call in run.calls] == ["a", "b", "a", "a"]
    assert [len(model.prompts) for model in models.values()] == [3, 1, 0]
    assert not outcome.deferred
    assert len(run.scorer.requests) == 1


async def test_after_a_deferral_it_is_the_target() -> None:
    models = {"a": Fake(reply("Paris")), "b": Fake(reply("Rome")), "t": Varied(reply("one"), reply("two"))}
    outcome = await run_cascade(several(models, 2, scorer=Judge(0.0)))
    assert (texts(outcome), outcome.answered_by) == (["one", "two"], "t")


async def test_a_member_that_stands_in_for_the_target_is_asked_again() -> None:
    models = {"a": Varied(reply("Paris"), reply("again")), "b": Fake(reply("Rome")), "t": Fake(BROKEN)}
    outcome = await run_cascade(several(models, 2, scorer=Judge(0.0), fallback=True))
    assert (texts(outcome), outcome.replaced) == (["Paris", "again"], BROKEN)


@pytest.mark.parametrize(
    ("seed", "seeds"), [(None, [None] * 3), (7, [7, 8, 9]), (2**63 - 1, [2**63 - 1, -(2**63), -(2**63) + 1])]
)
async def test_each_has_the_next_seed(seed: int | None, seeds: list[int | None]) -> None:
    target = Varied(reply("x"), reply("y"), reply("z"))
    prompt = replace(PROMPT, sampling=Sampling(seed=seed, temperature=1.0))
    await run_cascade(several({"t": target}, 3, tiers=[replace(TARGET, timeout_s=9.0)], prompt=prompt))
    assert [request.sampling.seed for request in target.prompts] == seeds
    assert {request.sampling.temperature for request in target.prompts} == {1.0}
    assert {request.timeout_s for request in target.prompts} == {9.0}


async def test_one_that_fails_fails_the_request_and_stops_the_others() -> None:
    target = Varied(reply("one"), BROKEN, HANG, HANG)
    run = several({"t": target}, 4, tiers=[TARGET])
    outcome = await run_cascade(run)
    assert (outcome.answer, outcome.answered_by, outcome.returned) == (BROKEN, "t", ())
    assert target.stopped == 2
    assert [getattr(call.answer, "kind", "ok") for call in run.calls] == ["ok", "error", "cancelled", "cancelled"]


async def test_a_failure_is_not_asked_again() -> None:
    target = Varied(BROKEN)
    outcome = await run_cascade(several({"t": target}, 3, tiers=[TARGET]))
    assert (outcome.answer, len(target.prompts)) == (BROKEN, 1)


async def test_they_have_the_time_limit_of_their_tier() -> None:
    target = Varied(reply("one"), HANG)
    outcome = await run_cascade(several({"t": target}, 2, tiers=[replace(TARGET, timeout_s=0.05)]))
    assert isinstance(outcome.answer, Failure)
    assert (outcome.answer.kind, target.stopped) == ("timeout", 1)


async def test_a_client_that_leaves_cancels_them_and_they_are_charged() -> None:
    target = Varied(reply("one"), HANG, HANG)
    run = several({"t": target}, 3, tiers=[TARGET])
    task = asyncio.create_task(run_cascade(run))
    async with asyncio.timeout(PATIENCE_S):
        while len(target.prompts) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await cancel(task)
    assert target.stopped == 2
    assert [getattr(call.answer, "kind", "ok") for call in run.calls] == ["ok", "cancelled", "cancelled"]


async def test_the_first_streams_before_the_others_are_there() -> None:
    class Streams(Varied):
        async def stream(self, prompt: Prompt):
            self.prompts.append(prompt)
            for item in STREAM:
                yield item

    target = Streams(0.0, reply("again"))
    events = await collect(several({"t": target}, 2, tiers=[TARGET], stream=True))
    assert [event.text for event in events if isinstance(event, Delta)] == ["Par", "is"]
    assert isinstance(events[-1], Outcome)
    assert texts(events[-1]) == ["Paris", "again"]


async def test_the_record_sums_the_calls_of_a_model() -> None:
    answers = [
        replace(reply(text, 10, tokens), latency_s=tokens / 10) for text, tokens in (("x", 1), ("y", 2), ("z", 4))
    ]
    run = several({"t": Varied(*answers)}, 3, tiers=[TARGET])
    outcome = await run_cascade(run)
    charges = charge(run, outcome, {"t": ModelCost(1e9, 1.0, 2.0)})
    record = decision_record("t", run, outcome, charges)
    call = record.models["t"]
    assert (call.status, call.calls, call.prompt_tokens, call.completion_tokens) == ("ok", 3, 30, 7)
    assert call.latency_s == pytest.approx(0.7)
    assert from_json(to_json(record)) == record
    spent = (usage(run.calls).prompt_tokens, usage(run.calls).completion_tokens)
    assert spent == (30, 7)
    assert record.cost.flops == 2e9 * 37
    assert record.cost.target_only.flops == record.cost.flops, "the target alone would have given as many answers"


async def test_a_model_that_failed_once_has_that_status() -> None:
    run = several({"t": Varied(reply("one"), BROKEN)}, 2, tiers=[TARGET])
    outcome = await run_cascade(run)
    record = decision_record("t", run, outcome, charge(run, outcome, {"t": ModelCost()}))
    assert (record.models["t"].status, record.models["t"].message, record.models["t"].calls) == ("error", "Broken.", 2)


@dataclass
class Counting:
    """An engine with counts of its own. Stopped, it tells what it has spent."""

    tokens: list[int]
    fails_at: int
    numbers: Any = field(default_factory=count)
    total: list[int] = field(default_factory=lambda: [0, 0])

    async def generate(self, prompt: Prompt) -> Answer:
        number, token_count = next(self.numbers), 0
        length = self.tokens[number % len(self.tokens)]
        self.total[0] += 5
        try:
            for _ in range(length):
                await asyncio.sleep(0)
                token_count += 1
                self.total[1] += 1
        except asyncio.CancelledError:
            return Failure("cancelled", "Stopped.", 5, token_count)
        if number == self.fails_at:
            return Failure("error", "Broken.", 5, token_count)
        return Generation("x", "stop", 5, token_count)

    async def stream(self, prompt: Prompt):
        yield await self.generate(prompt)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.builds(Counting, st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 6)),
        min_size=3,
        max_size=3,
    ),
    st.integers(1, 8),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),
    st.booleans(),
)
def test_the_total_is_what_the_engines_counted(
    engines: list[Counting], choices: int, similarity: float, fallback: bool, stream: bool
) -> None:
    models = dict(zip("abt", engines, strict=True))
    run = several(models, choices, scorer=Judge(similarity), fallback=fallback, stream=stream)
    outcome = asyncio.run(run_cascade(run))
    costs = {name: ModelCost(10.0**number, 1.0, 2.0) for number, name in enumerate(models)}
    names = {call.model for call in run.calls}
    # A call that is stopped before it began spends nothing, but an estimate cannot know that.
    exact = not any(call.answer.estimated for call in run.calls)
    counted = sum((price(costs[name], *models[name].total, 0.0) for name in names), Cost())
    total = charge(run, outcome, costs).request
    scoring = sum(result.scores.flops for result in run.results if result.scores)
    assert total.flops - scoring >= counted.flops * (1 - 1e-12)
    assert total.usd >= counted.usd * (1 - 1e-12)
    if exact:
        assert total.usd == pytest.approx(counted.usd)
        assert total.flops == pytest.approx(counted.flops + scoring)
    assert len(outcome.returned) in (0, choices)
