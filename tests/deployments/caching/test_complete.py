"""Which outcomes may be given to other requests."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from serve_app.core.types.answer import Answer, Failure
from serve_app.core.types.outcome import Call, Outcome, TierResult
from serve_app.core.types.policy import Agreement, Decision, Tier
from serve_app.deployments.caching.complete import complete, shareable
from tests.core.deciding.worlds import EXACT
from tests.core.scripted import TARGET, TIER, reply

TRIO = Tier(("a", "b", "c"), signal="exact", threshold=0.5, signal_range=EXACT)


def tier_of(*answers: Answer) -> TierResult:
    calls = tuple(Call(model, answer) for model, answer in zip("ab", answers, strict=True))
    return TierResult(TIER, calls, Decision(False, "disagreement"), Agreement((0, 1), (0.0, 0.0), 0.0, 0))


def deferred(answer: Answer = reply("z"), tier: TierResult | None = None) -> Outcome:  # noqa: B008
    target = TierResult(TARGET, (Call("t", answer),), Decision(True, "last_tier", selected=0))
    return Outcome(answer, "t", (tier or tier_of(reply("x"), reply("y")), target), 1.0)


def test_an_answer_that_nothing_disturbed_may_be_kept_and_shared() -> None:
    assert complete(deferred())
    assert shareable(deferred())


@pytest.mark.parametrize("kind", ["context_length", "invalid_output"])
def test_a_member_that_fails_so_will_fail_so_again(kind: str) -> None:
    outcome = deferred(tier=tier_of(reply("x"), Failure(kind, "No.")))  # type: ignore[arg-type]
    assert complete(outcome)


def test_a_member_that_was_stopped_because_the_others_decide_disturbs_nothing() -> None:
    stopped = tier_of(reply("x"), Failure("cancelled", "Stopped."))
    assert complete(deferred(tier=stopped))


@pytest.mark.parametrize("limit", [{"tier_timeout_s": 1.0}, {"quorum": 2}])
def test_what_was_decided_on_the_first_answers_to_arrive_is_shared_and_not_kept(limit: dict[str, Any]) -> None:
    limited = replace(TIER, **limit)
    stopped = replace(tier_of(reply("x"), Failure("cancelled", "Stopped.")), tier=limited)
    assert not complete(deferred(tier=stopped))
    assert shareable(deferred(tier=stopped))
    assert complete(deferred(tier=replace(tier_of(reply("x"), reply("y")), tier=limited)))


@pytest.mark.parametrize(
    ("early", "accepted", "complete_answer"),
    [("decision", True, False), ("decision", False, True), ("selection", True, True)],
)
def test_an_answer_selected_by_the_order_of_arrival_is_shared_and_not_kept(
    early: Literal["decision", "selection"], accepted: bool, complete_answer: bool
) -> None:
    """The third answer had arrived when its call was to be stopped: no call is cancelled."""
    tier = replace(tier_of(reply("x"), reply("x")), tier=replace(TRIO, early=early), bounds=(0.5, 1.0))
    tier = replace(tier, decision=replace(tier.decision, accepted=accepted))
    outcome = Outcome(reply("x"), "a", (tier,), 1.0) if accepted else deferred(tier=tier)
    assert (complete(outcome), shareable(outcome)) == (complete_answer, True)


@pytest.mark.parametrize("kind", ["error", "timeout", "unavailable", "rate_limited"])
def test_an_answer_that_a_member_was_missing_for_is_shared_and_not_kept(kind: str) -> None:
    outcome = deferred(tier=tier_of(reply("x"), Failure(kind, "No.")))  # type: ignore[arg-type]
    assert not complete(outcome)
    assert shareable(outcome)


def test_an_answer_that_could_not_be_scored_is_shared_and_not_kept() -> None:
    outcome = deferred(tier=replace(tier_of(reply("x"), reply("y")), scorer_error="Gone."))
    assert not complete(outcome)
    assert shareable(outcome)


@pytest.mark.parametrize("kind", ["refused", "context_length"])
def test_a_failure_that_every_such_request_meets_is_shared_and_not_kept(kind: str) -> None:
    outcome = deferred(Failure(kind, "No."))  # type: ignore[arg-type]
    assert not complete(outcome)
    assert shareable(outcome)


@pytest.mark.parametrize("kind", ["error", "timeout", "cancelled", "unavailable", "rate_limited", "invalid_output"])
def test_any_other_failure_is_neither_kept_nor_shared(kind: str) -> None:
    outcome = deferred(Failure(kind, "No."))  # type: ignore[arg-type]
    assert not complete(outcome)
    assert not shareable(outcome)


def test_an_answer_that_stands_in_for_the_target_is_neither_kept_nor_shared() -> None:
    outcome = replace(deferred(), replaced=Failure("error", "Broken."))
    assert not complete(outcome)
    assert not shareable(outcome)
