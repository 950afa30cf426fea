"""A lexical signal decides in place of a tier's own whose scorer fails."""

from dataclasses import replace

import pytest

from serve_app.core.charges import charge
from serve_app.core.cost import ModelCost
from serve_app.core.record import decision_record
from serve_app.core.record_json import from_json, to_json
from serve_app.core.running.cascade import run_cascade
from serve_app.core.running.run import Run
from serve_app.core.types.outcome import Force
from serve_app.core.types.policy import StandIn, Tier
from serve_app.errors import SignalError
from tests.core.scripted import TARGET, TIER, Fake, Judge, quiet, reply, run_of

__all__ = ["quiet"]

DOWN = SignalError("The scorer is down.")
STOOD_FOR: Tier = replace(TIER, signal="sbert", threshold=0.9, stand_in=StandIn("rougeL", 0.5))


def scored(
    lexical: Judge | None, tier: Tier = STOOD_FOR, scorer: Judge | None = None, force: Force | None = None
) -> Run:
    models = {"a": Fake(reply("x")), "b": Fake(reply("y")), "t": Fake(reply("z"))}
    run = run_of(models, (tier, TARGET), scorer=scorer or Judge(DOWN), force=force)
    run.lexical = lexical
    return run


@pytest.mark.parametrize(
    ("similarity", "model", "reason"), [(0.5, "a", "lexical_agreement"), (0.4, "t", "lexical_disagreement")]
)
async def test_it_decides_by_its_own_threshold(similarity: float, model: str, reason: str) -> None:
    lexical = Judge(similarity)
    outcome = await run_cascade(scored(lexical))
    assert (outcome.answered_by, outcome.reason) == (model, reason)
    assert lexical.requests == [("rougeL", ["x", "y"])]


async def test_the_record_says_so() -> None:
    run = scored(Judge(0.5))
    outcome = await run_cascade(run)
    record = decision_record("default", run, outcome, charge(run, outcome, dict.fromkeys("abt", ModelCost())))
    [tier] = to_json(record)["tiers"]
    assert (tier["signal"], tier["instead_of"], tier["threshold"]) == ("rougeL", "sbert", 0.5)
    assert (tier["agreement"], tier["reason"], tier["scorer_error"]) == (0.5, "lexical_agreement", str(DOWN))
    assert from_json(to_json(record)) == record


async def test_it_is_not_asked_while_the_scorer_works() -> None:
    lexical = Judge(1.0)
    outcome = await run_cascade(scored(lexical, scorer=Judge(0.8)))
    assert (outcome.reason, lexical.requests) == ("disagreement", [])


@pytest.mark.parametrize(
    ("lexical", "tier"),
    [(Judge(SignalError("Too long.")), STOOD_FOR), (None, STOOD_FOR), (Judge(1.0), replace(STOOD_FOR, stand_in=None))],
)
async def test_otherwise_the_tier_defers(lexical: Judge | None, tier: Tier) -> None:
    outcome = await run_cascade(scored(lexical, tier))
    assert (outcome.answered_by, outcome.reason) == ("t", "scorer_failed")
    assert outcome.tiers[0].tier.signal == "sbert"


async def test_what_is_forced_is_forced() -> None:
    assert (await run_cascade(scored(Judge(0.9), force="defer"))).answered_by == "t"
    accepted = await run_cascade(scored(Judge(0.1), force="accept"))
    assert (accepted.answered_by, accepted.reason) == ("a", "forced")


async def test_a_later_tier_is_scored_anew() -> None:
    later = Tier(("c", "d"), signal="sbert", threshold=0.9, stand_in=StandIn("exact", 0.7))
    run = scored(Judge(0.4))
    run.tiers = (STOOD_FOR, later, TARGET)
    run.models = {**run.models, "c": Fake(reply("v")), "d": Fake(reply("v"))}
    outcome = await run_cascade(run)
    assert (outcome.answered_by, [tier.decision.reason for tier in outcome.tiers]) == (
        "c",
        ["lexical_disagreement", "lexical_agreement"],
    )
