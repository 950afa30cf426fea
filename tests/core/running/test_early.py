"""A tier that is decided before all of its answers have arrived decides what it would have decided with all."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core.charges import charge
from serve_app.core.cost import ModelCost
from serve_app.core.deciding.deferral import decide
from serve_app.core.record import decision_record
from serve_app.core.running.cascade import run_cascade
from serve_app.core.types.answer import Failure
from serve_app.core.types.policy import StandIn, Tier
from serve_app.core.types.prompt import ToolCall
from serve_app.core.types.scores import Scores
from serve_app.errors import SignalError
from tests.core.deciding.worlds import EXACT, judged, worlds
from tests.core.scripted import BROKEN, HANG, PROMPT, TARGET, Fake, Judge, kinds, quiet, reply, run_of

__all__ = ["quiet"]

TRIO = Tier(("a", "b", "c"), signal="exact", threshold=0.5, signal_range=EXACT)
STOPPED = "Stopped: its answer could no longer change the tier's decision."


async def test_two_equal_answers_of_three_are_accepted_and_the_third_is_stopped():
    models = {"a": Fake(reply("x")), "b": Fake(reply("x")), "c": Fake(HANG), "t": Fake()}
    run = run_of(models, (TRIO, TARGET))
    outcome = await run_cascade(run)
    [result] = outcome.tiers
    assert (outcome.answered_by, outcome.reason, result.decision.agreement) == ("a", "agreement", None)
    assert (result.bounds, result.decision.selected) == ((0.5, 1.0), 0)
    assert result.judged is not None
    assert (result.judged.survivors, result.judged.output_scores) == ((0, 1), (None, None, None))
    assert (kinds(run), models["c"].stopped) == ({"a": "ok", "b": "ok", "c": "cancelled"}, 1)
    assert result.scores is not None
    assert result.scores.similarities == ((1, 1), (1, 1))
    stopped = result.calls[2].answer
    assert isinstance(stopped, Failure)
    assert stopped.message == STOPPED


async def test_two_different_answers_are_deferred_if_a_third_cannot_help():
    models = {"a": Fake(reply("x")), "b": Fake(HANG), "c": Fake(reply("y")), "t": Fake(reply("z"))}
    outcome = await run_cascade(run_of(models, (replace(TRIO, threshold=0.6), TARGET), scorer=Judge(0.0)))
    assert (outcome.answered_by, outcome.reason, models["b"].stopped) == ("t", "disagreement", 1)
    assert outcome.tiers[0].decision.selected is None


@pytest.mark.parametrize(("early", "answered_by"), [("decision", "b"), ("selection", "a"), ("off", "a")])
async def test_a_model_named_before_is_waited_for_if_its_answer_could_be_returned(early, answered_by):
    models = {"a": Fake(0.05, reply("x")), "b": Fake(reply("x")), "c": Fake(reply("x")), "t": Fake()}
    outcome = await run_cascade(run_of(models, (replace(TRIO, early=early), TARGET)))
    assert outcome.answered_by == answered_by
    assert (outcome.tiers[0].bounds is None) == (early != "decision")


@pytest.mark.parametrize("options", [{"fallback": True}, {"force": "defer"}, {"force": "accept"}])
async def test_all_answers_are_waited_for_if_each_is_of_use(options):
    models = {"a": Fake(reply("x")), "b": Fake(reply("x")), "c": Fake(0.05, reply("y")), "t": Fake(reply("z"))}
    run = run_of(models, (TRIO, TARGET), scorer=Judge(0.0), **options)
    outcome = await run_cascade(run)
    assert kinds(run)["c"] == "ok"
    assert outcome.tiers[0].bounds is None


async def test_surplus_tool_calls_are_cut_before_anything_is_compared():
    """As with `early: off`, which sees a and b call the same tool once."""
    first, second = (ToolCall(str(k), name, "{}") for k, name in enumerate("fh"))
    calling = [
        replace(reply(""), tool_calls=calls, finish_reason="tool_calls") for calls in ((first,), (first, second))
    ]
    prompt = replace(PROMPT, parallel_tool_calls=False)
    for early in ("off", "selection"):
        models = {"a": Fake(calling[0]), "b": Fake(calling[1]), "c": Fake(0.05, reply("x")), "t": Fake(reply("z"))}
        run = run_of(models, (replace(TRIO, early=early), TARGET), scorer=Judge(0.0), prompt=prompt)
        assert (await run_cascade(run)).answered_by == "a"


async def test_a_comparison_that_comes_to_nothing_is_charged():
    models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "c": Fake(0.05, BROKEN), "t": Fake(reply("z"))}
    tier = replace(TRIO, min_answers=3, threshold=0.6)
    run = run_of(models, (tier, TARGET), scorer=Judge(0.3))
    result = (await run_cascade(run)).tiers[0]
    assert (result.decision.reason, result.scores) == ("too_few_answers", Scores((), flops=7.0, device_s=0.5))
    costs = dict.fromkeys("abct", ModelCost(1.0))
    record = decision_record("default", run, None, charge(run, None, costs))
    assert record.cost.flops == 7 + 2 * (12 + 12 + 10 + 12)
    assert record.tiers[0].decision is not None
    assert record.tiers[0].decision.similarities is None


async def test_each_pair_is_compared_once():
    scorer = Table({(a, b): float(a == b) for a in "xyz" for b in "xyz"})
    models = {
        "a": Fake(scorer.entered, reply("x")),
        "b": Fake(reply("y")),
        "c": Fake(reply("z")),
        "t": Fake(reply("t")),
    }
    outcome = await run_cascade(run_of(models, (replace(TRIO, threshold=0.5), TARGET), scorer=scorer))
    assert scorer.requests == [(["y", "z"], 0), (["y", "z", "x"], 2)]
    assert outcome.tiers[0].scores == Scores(((1, 0, 0), (0, 1, 0), (0, 0, 1)), flops=3.0)
    assert outcome.reason == "disagreement"


async def test_two_members_are_compared_as_ever():
    scorer = Judge(1.0)
    models = {"a": Fake(reply("x")), "b": Fake(0.05, reply("x")), "t": Fake()}
    await run_cascade(run_of(models, (replace(TRIO, models=("a", "b")), TARGET), scorer=scorer))
    assert scorer.requests == [("exact", ["x", "x"])]


async def test_a_scorer_that_fails_settles_nothing():
    models = {"a": Fake(reply("x")), "b": Fake(reply("x")), "c": Fake(0.05, reply("x")), "t": Fake(reply("z"))}
    run = run_of(models, (TRIO, TARGET), scorer=Judge(SignalError("Broken.")))
    outcome = await run_cascade(run)
    assert (outcome.reason, kinds(run)["c"]) == ("scorer_failed", "ok")


async def test_a_scorer_that_fails_is_not_asked_again():
    """Neither for later answers nor for the verdict: its time limit is spent once."""
    scorer = Judge(SignalError("Away."))
    models = {name: Fake(reply("x")) for name in "abcde"} | {"t": Fake(reply("z"))}
    models["d"], models["e"] = Fake(0.01, reply("x")), Fake(0.02, reply("x"))
    tier = replace(TRIO, models=tuple("abcde"), stand_in=StandIn("lexical", 0.5))
    run = run_of(models, (tier, TARGET), scorer=scorer)
    run.lexical = Judge(1.0)
    outcome = await run_cascade(run)
    assert scorer.requests == [("exact", ["x", "x", "x"])]
    assert (outcome.reason, outcome.tiers[0].scorer_error) == ("lexical_agreement", "Away.")


async def test_failures_settle_as_well():
    models = {"a": Fake(reply("x")), "b": Fake(BROKEN), "c": Fake(reply("x")), "d": Fake(HANG), "t": Fake()}
    outcome = await run_cascade(run_of(models, (replace(TRIO, models=tuple("abcd")), TARGET)))
    assert (outcome.answered_by, outcome.tiers[0].bounds) == ("a", (0.5, 1.0))


async def test_a_model_that_a_later_tier_names_is_not_stopped():
    models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "c": Fake(0.05, reply("z")), "t": Fake()}
    tiers = (replace(TRIO, threshold=0.6), Tier(("c", "t"), signal="exact", threshold=0.5), TARGET)
    models["t"] = Fake(reply("z"))
    run = run_of(models, tiers, scorer=Judge(0.0))
    outcome = await run_cascade(run)
    assert (outcome.answered_by, kinds(run)["c"], models["c"].stopped) == ("c", "ok", 0)


@pytest.mark.parametrize(("threshold", "calls"), [(0.6, 0), (0.5, 1)])
async def test_no_further_model_is_called_if_the_answers_of_an_earlier_tier_settle_it(threshold, calls):
    """Two different answers and a third come to (0 + 1) / 2 at best."""
    models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "c": Fake(reply("x")), "t": Fake(reply("z"))}
    trio = replace(TRIO, threshold=threshold)
    scorer = Table({(a, b): float(a == b) for a in "xyz" for b in "xyz"})
    run = run_of(models, (replace(trio, models=("a", "b"), threshold=0.1), trio, TARGET), scorer=scorer)
    outcome = await run_cascade(run)
    assert (outcome.answered_by, len(models["c"].prompts)) == ("a" if calls else "t", calls)
    assert [call.model for call in run.calls] == ["a", "b", "c" if calls else "t"]


class Table:
    """A scorer that knows the similarity of every two texts, and computes new pairs only."""

    def __init__(self, table: dict[tuple[str, str], float]) -> None:
        self.table = table
        self.requests: list[tuple[list[str], int]] = []
        self.entered = asyncio.Event()

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        self.requests.append((list(texts), since))
        self.entered.set()
        pairs = len(texts) * (len(texts) - 1) // 2 - since * (since - 1) // 2
        return Scores(
            tuple(
                tuple(self.table[a, b] if max(i, j) >= since else nan for j, b in enumerate(texts))
                for i, a in enumerate(texts)
            ),
            flops=float(pairs),
        )


@settings(max_examples=60, deadline=None)
@given(worlds(), st.sampled_from(("decision", "selection")), st.booleans())
async def test_any_order_of_arrival_decides_what_all_answers_decide(world, early, accepts_any):
    tier, answers, table, order = world
    tier = replace(tier, accepts_any=accepts_any)
    models = {name: Fake(0.001 * order.index(i), answers[i]) for i, name in enumerate(tier.models)}
    run = run_of({**models, "t": Fake(reply("z"))}, (replace(tier, early=early), TARGET), scorer=Table(table))
    outcome = await run_cascade(run)
    decision = decide(tier, judged(tier, answers, table))
    assert outcome.deferred is not decision.accepted
    assert outcome.reason == decision.reason or not decision.accepted
    if decision.accepted and early == "selection":
        assert decision.selected is not None
        assert outcome.answered_by == tier.models[decision.selected]
        assert outcome.answer == answers[decision.selected]
