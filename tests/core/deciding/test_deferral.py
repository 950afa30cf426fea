from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.deciding.agreement import survivors
from serve_app.core.deciding.deferral import Prospects, answers_needed, decide, worth_comparing
from serve_app.core.types.answer import Failure, Generation
from serve_app.core.types.policy import Agreement, Decision, Tier
from tests.core.deciding.judging import agreed, confided

A, B, EMPTY = Generation("a", "stop", 1, 1), Generation("b", "stop", 1, 1), Generation("", "stop", 1, 0)
FAILED = Failure("error", "Broken.")
PAIR = Tier(("a", "b"), signal="exact", threshold=0.5)


def sure(_: str, __: Generation) -> float:
    return -0.5


def judged(value: float | None = 0.5, survivors: int = 2, selected: int | None = 0) -> Agreement:
    alive = tuple(range(survivors))
    return Agreement(alive, (value,) * survivors, value, selected)


@pytest.mark.parametrize(
    ("agreement", "accepted", "reason"),
    [
        (judged(0.5), True, "agreement"),  # equal to the threshold
        (judged(0.75), True, "agreement"),
        (judged(0.4999999999999999), False, "disagreement"),
        (judged(nan), False, "disagreement"),
        (judged(-inf), False, "disagreement"),
        (judged(None), False, "scorer_failed"),
        (judged(0.75, selected=None), False, "nothing_to_return"),
        (judged(None, selected=None), False, "nothing_to_return"),  # all empty: nothing was scored
        (judged(None, survivors=1), False, "too_few_answers"),
        (judged(None, survivors=0, selected=None), False, "too_few_answers"),
    ],
)
def test_decisions(agreement, accepted, reason):
    decision = decide(PAIR, agreement)
    assert decision.agreement is agreement.value  # a NaN differs from itself, but is the same object here
    assert replace(decision, agreement=0.0) == Decision(accepted, reason, 0.0, 0.5, agreement.selected)


@pytest.mark.parametrize(
    ("agreement", "accepted", "reason"),
    [
        (judged(0.9), False, "forced"),
        (judged(None, survivors=0, selected=None), False, "forced"),
    ],
)
def test_forced_to_defer(agreement, accepted, reason):
    decision = decide(PAIR, agreement, "defer")
    assert (decision.accepted, decision.reason) == (accepted, reason)
    assert decision.agreement == agreement.value


@pytest.mark.parametrize(
    ("agreement", "accepted", "reason"),
    [
        (judged(0.1), True, "forced"),
        (judged(nan), True, "forced"),
        (judged(None), True, "forced"),
        (judged(None, survivors=1), True, "forced"),
        (judged(0.9, selected=None), False, "nothing_to_return"),
        (judged(None, survivors=0, selected=None), False, "too_few_answers"),
    ],
)
def test_forced_to_accept_where_there_is_an_answer(agreement, accepted, reason):
    decision = decide(PAIR, agreement, "accept")
    assert (decision.accepted, decision.reason) == (accepted, reason)


@pytest.mark.parametrize(
    ("models", "min_answers", "by_signal", "by_confidence"),
    [(1, 1, 2, 1), (1, 2, 2, 1), (2, 1, 2, 1), (2, 2, 2, 2), (3, 1, 2, 1), (3, 2, 2, 2), (3, 3, 3, 3), (2, 3, 2, 2)],
)
def test_answers_needed(models, min_answers, by_signal, by_confidence):
    names = tuple("abc"[:models])
    assert answers_needed(Tier(names, signal="exact", min_answers=min_answers)) == by_signal
    assert answers_needed(Tier(names, confidence=sure, min_answers=min_answers)) == by_confidence


def test_one_member_and_a_signal_defers():
    tier = Tier(("a",), signal="exact", threshold=-1.0, min_answers=1)
    assert decide(tier, agreed(tier, [A], ((1.0,),))) == Decision(False, "too_few_answers", None, -1.0, 0)


@pytest.mark.parametrize(
    ("threshold", "accepted", "reason"), [(-0.5, True, "confident"), (-0.4, False, "unsure"), (-inf, True, "confident")]
)
def test_one_member_and_a_confidence_decides(threshold, accepted, reason):
    tier = Tier(("a",), confidence=sure, threshold=threshold)
    assert decide(tier, confided(tier, [A], sure)) == Decision(accepted, reason, -0.5, threshold, 0)


def test_one_member_and_a_confidence_without_an_answer():
    tier = Tier(("a",), confidence=sure, threshold=-1.0)
    assert decide(tier, confided(tier, [FAILED], sure)).reason == "too_few_answers"
    assert decide(tier, confided(tier, [EMPTY], sure)).reason == "nothing_to_return"


@pytest.mark.parametrize(("min_answers", "reason"), [(2, "agreement"), (3, "too_few_answers")])
def test_failed_members_and_min_answers(min_answers, reason):
    tier = Tier(("a", "b", "c"), signal="exact", threshold=0.5, min_answers=min_answers)
    assert decide(tier, agreed(tier, [A, FAILED, B], ((1, 0.75), (0.75, 1)))).reason == reason


def test_an_empty_answer_still_counts_for_min_answers():
    decision = decide(PAIR, agreed(PAIR, [EMPTY, B], ((1, 0), (0, 1))))
    assert decision == Decision(False, "disagreement", 0.0, 0.5, 1)


def test_all_answers_empty():
    assert decide(PAIR, agreed(PAIR, [EMPTY, EMPTY], None)).reason == "nothing_to_return"
    assert decide(PAIR, agreed(PAIR, [EMPTY, EMPTY], None), "accept").accepted is False


numbers = st.floats(allow_nan=False)


@given(value=numbers, low=numbers, high=numbers)
def test_deferral_is_monotone_in_the_threshold(value, low, high):
    low, high = sorted((low, high))
    lenient, strict = (decide(Tier(("a", "b"), signal="exact", threshold=t), judged(value)) for t in (low, high))
    assert lenient.accepted >= strict.accepted


@given(value=st.one_of(numbers, st.none()), threshold=numbers, survivors=st.integers(0, 3))
def test_accepted_means_that_an_answer_agrees(value, threshold, survivors):
    agreement = judged(value, survivors, 0 if survivors else None)
    tier = Tier(("a", "b", "c"), signal="exact", threshold=threshold)
    assert decide(tier, agreement).accepted == (survivors >= 2 and value is not None and value >= round(threshold, 9))


@given(threshold=st.floats())
def test_nan_is_never_accepted(threshold):
    assert not decide(Tier(("a", "b"), signal="exact", threshold=threshold), judged(nan)).accepted
    assert not decide(Tier(("a", "b"), signal="exact", threshold=nan), judged(threshold)).accepted


@given(threshold=st.floats(), at=st.sampled_from([(0, 1), (1, 0), (1, 2), (2, 1), (2, 0)]))
def test_a_nan_similarity_always_defers(threshold, at):
    similarities = tuple(tuple(nan if (i, j) == at else 1.0 for j in range(3)) for i in range(3))
    tier = Tier(("a", "b", "c"), signal="exact", threshold=threshold)
    assert not decide(tier, agreed(tier, [A, A, A], similarities)).accepted


class TestProspects:
    """What a tier may still come to while its answers arrive."""

    TRIO = Tier(("a", "b", "c"), signal="exact")

    @pytest.mark.parametrize(
        ("tier", "arrived", "hopeful"),
        [
            (TRIO, {}, True),
            (TRIO, {0: FAILED}, True),
            (TRIO, {0: FAILED, 2: FAILED}, False),  # one answer cannot be compared
            (TRIO, {0: EMPTY, 1: EMPTY}, True),  # the third may have a text
            (TRIO, {0: EMPTY, 1: EMPTY, 2: EMPTY}, False),
            (replace(TRIO, select="b"), {0: FAILED}, True),
            (replace(TRIO, select="b"), {1: FAILED}, False),
            (replace(TRIO, select="b"), {1: EMPTY}, False),
            (replace(TRIO, min_answers=3), {0: FAILED}, False),
            (replace(TRIO, min_answers=5), {0: A, 1: B}, True),  # all of a tier that has fewer
            (Tier(("a",), signal="exact"), {}, True),  # alone it defers only once it has answered
            (replace(TRIO, truncated="discard"), {i: replace(A, finish_reason="length") for i in range(2)}, False),
        ],
    )
    def test_whether_it_can_still_accept(self, tier, arrived, hopeful):
        prospects = Prospects(tier)
        for index, answer in arrived.items():
            prospects.arrived(index, answer)
        assert prospects.hopeful == hopeful

    @given(st.lists(st.sampled_from([A, B, EMPTY, FAILED]), min_size=1, max_size=4), st.integers(1, 4))
    def test_once_all_have_arrived_it_says_whether_there_is_something_to_compare(self, answers, min_answers):
        tier = Tier(tuple(f"m{i}" for i in range(len(answers))), signal="exact", min_answers=min_answers)
        prospects = Prospects(tier)
        for index, answer in enumerate(answers):
            prospects.arrived(index, answer)
        comparable = worth_comparing(survivors(tier, answers)) is not None
        assert prospects.hopeful == (comparable if len(answers) > 1 else answers[0] in (A, B))
