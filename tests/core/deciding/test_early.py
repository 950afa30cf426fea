from dataclasses import replace
from itertools import product
from math import inf, nan

import pytest
from hypothesis import given, settings

from serve_app.core.deciding.agreement import resolved, survivors
from serve_app.core.deciding.deferral import decide
from serve_app.core.deciding.early import Settled, settled, worth_scoring
from serve_app.core.types.answer import Answer
from serve_app.core.types.blend import Blend
from serve_app.core.types.policy import Tier
from serve_app.core.types.scores import Matrix
from serve_app.core.types.signal_range import Range
from tests.core.deciding.worlds import COSINE, EXACT, FAILED, LEXICAL, judged, matrix, reply, worlds

TRIO = Tier(("a", "b", "c"), signal="exact", threshold=0.5, signal_range=EXACT)
EQUAL: Matrix = ((1, 1), (1, 1))
OTHER: Matrix = ((1, 0), (0, 1))


def of(tier: Tier, arrived: dict[int, Answer], similarities: Matrix | None) -> Settled | None:
    answers = [arrived.get(i) for i in range(len(tier.models))]
    return settled(survivors(tier, answers), set(range(len(answers))) - set(arrived), similarities)


X, Y = reply("x"), reply("y")


def test_two_equal_answers_of_three_are_accepted_by_the_best_score():
    """The third makes their score (1 + 0) / 2 at the worst; it cannot win, since a tie goes to the one named first."""
    assert of(TRIO, {0: X, 1: X}, EQUAL) == Settled(True, 0.5, 1.0, selected=0)


def test_a_model_named_before_may_still_be_the_one_whose_answer_is_returned():
    assert of(TRIO, {1: X, 2: X}, EQUAL) == Settled(True, 0.5, 1.0, selected=1, selection=False)
    assert of(replace(TRIO, select="b"), {1: X, 2: X}, EQUAL) == Settled(True, 0.5, 1.0, selected=1)


@pytest.mark.parametrize(("threshold", "accepted"), [(1 / 3, True), (0.34, None)])
def test_the_mean_of_two_equal_answers_and_a_different_one_is_a_third(threshold, accepted):
    tier = replace(TRIO, agreement="mean", threshold=threshold)
    result = of(tier, {0: X, 1: X}, EQUAL)
    assert (result and result.accepted) == accepted


@pytest.mark.parametrize(("threshold", "settlement"), [(0.5, None), (0.51, Settled(False, 0.0, 0.500001))])
def test_two_different_answers_of_three_defer_if_a_third_cannot_help_enough(threshold, settlement):
    """The third equals one of them at best: (1 + 0) / 2."""
    result = of(replace(TRIO, threshold=threshold), {0: X, 1: Y}, OTHER)
    assert result == (settlement and replace(settlement, highest=pytest.approx(0.5, abs=1e-5)))


def test_a_signal_that_is_no_equality_may_find_a_third_text_equal_to_both():
    tier = replace(TRIO, signal_range=LEXICAL, threshold=0.99)
    assert of(tier, {0: X, 1: Y}, OTHER) is None
    assert of(replace(tier, agreement="mean"), {0: X, 1: Y}, OTHER) == Settled(
        False, 0.0, pytest.approx(2 / 3, abs=1e-5)
    )


@pytest.mark.parametrize(("threshold", "deferred"), [(0.87, True), (0.86, False)])
def test_no_vector_is_nearer_to_two_others_than_their_middle(threshold, deferred):
    """Two texts at 60 degrees: a third in the middle has the score cos 30 = .866, one equal to either .75."""
    tier = replace(TRIO, signal_range=COSINE, threshold=threshold)
    result = of(tier, {0: X, 1: Y}, ((1, 0.5), (0.5, 1)))
    assert (result is not None and not result.accepted) is deferred


def test_the_best_of_five_is_known_if_two_missing_answers_cannot_outnumber_it():
    """Three equal answers: two others that are equal to each other have one equal in four, these have two."""
    tier = replace(TRIO, models=tuple("abcde"), threshold=0.5)
    three: Matrix = ((1,) * 3,) * 3
    assert of(tier, {0: X, 1: X, 2: X}, three) == Settled(True, 0.5, 1.0, selected=0)
    assert of(replace(tier, threshold=0.51), {0: X, 1: X, 2: X}, three) is None


def test_identical_answers_have_equal_scores_under_any_signal():
    tier = replace(TRIO, signal_range=LEXICAL)
    assert of(tier, {0: X, 1: X}, EQUAL) == Settled(True, 0.5, 1.0, selected=0)
    different = of(tier, {0: X, 1: Y}, EQUAL)
    assert different == Settled(True, 0.5, 1.0, selected=0, selection=False)


def test_two_missing_texts_may_be_closer_to_each_other():
    """Under a signal that is no equality c may equal a, b and d, though d equals neither a nor b."""
    four = replace(TRIO, models=tuple("abcd"), signal_range=LEXICAL, threshold=0.3)
    assert of(four, {0: X, 1: X}, EQUAL) == Settled(True, resolved(1 / 3), 1.0, selected=0, selection=False)
    assert of(four, {0: X, 1: X, 2: X}, ((1,) * 3,) * 3) == Settled(True, resolved(2 / 3), 1.0, selected=0)


def test_a_missing_vector_may_equal_the_best_one_and_round_higher():
    tier = replace(TRIO, signal_range=COSINE, threshold=-0.1)
    assert of(tier, {0: X, 1: X}, EQUAL) == Settled(True, 0.0, 1.0, selected=0, selection=False)


def test_directions_that_may_differ_leave_the_selection_open():
    tier = replace(TRIO, signal_range=LEXICAL, direction="hypothesis")
    assert of(tier, {0: X, 1: X}, EQUAL) == Settled(True, 0.5, 1.0, selected=0, selection=False)


def test_what_fails_is_not_accepted_early():
    tier = replace(TRIO, min_answers=3)
    assert of(tier, {0: X, 1: X}, EQUAL) is None
    assert of(replace(TRIO, select="c"), {0: X, 1: X}, EQUAL) is None
    assert of(TRIO, {0: reply(""), 1: reply(" ")}, EQUAL) is None


def test_failures_leave_fewer_answers_that_matter():
    four = replace(TRIO, models=tuple("abcd"))
    assert of(four, {0: X, 1: X}, EQUAL) is None
    assert of(four, {0: X, 1: X, 3: FAILED}, EQUAL) == Settled(True, 0.5, 1.0, selected=0)


def test_signals_without_bounds_settle_nothing():
    assert of(replace(TRIO, signal_range=None), {0: X, 1: X}, EQUAL) is None
    assert of(replace(TRIO, blend=Blend(1, 1), confidence=lambda *_: 0.0), {0: X, 1: X}, EQUAL) is None
    assert of(TRIO, {0: X, 1: X}, ((1, nan), (nan, 1))) is None
    assert of(TRIO, {0: X}, None) is None


CONFIDENT = Tier(
    ("a", "b"),
    signal="chow_avg",
    threshold=-1.0,
    min_answers=1,
    signal_range=Range(-inf, 0),
    confidence=lambda _, answer: float(answer.text),
)


def test_one_sure_model_accepts_and_a_surer_one_may_be_returned():
    assert of(CONFIDENT, {1: reply("-.5")}, None) == Settled(True, -0.5, 0.0, selected=1, selection=False)
    assert of(CONFIDENT, {0: reply("0")}, None) == Settled(True, 0.0, 0.0, selected=0)


def test_the_mean_of_confidences_has_an_upper_bound_only():
    mean = replace(CONFIDENT, agreement="mean")
    assert of(mean, {0: reply("-.5")}, None) is None
    assert of(mean, {0: reply("-2.1")}, None) == Settled(False, -inf, -1.05)
    assert of(mean, {0: reply("-2")}, None) is None


def test_similarities_are_not_worth_computing_if_none_would_settle_anything():
    alive = survivors(TRIO, [X, Y, None])
    assert worth_scoring(alive, {2})
    assert not worth_scoring(alive, set())
    assert not worth_scoring(survivors(TRIO, [X, None, None]), {1, 2})
    assert not worth_scoring(survivors(replace(TRIO, threshold=0.45, min_answers=3), [X, Y, None]), {2})
    assert not worth_scoring(survivors(replace(TRIO, signal_range=None), [X, Y, None]), {2})


@settings(max_examples=100)
@given(worlds())
def test_what_is_settled_is_what_all_answers_decide(world):
    check_every_beginning(*world)


@pytest.mark.slow
@settings(max_examples=600)
@given(worlds())
def test_what_is_settled_is_what_all_answers_decide_in_many_worlds(world):
    check_every_beginning(*world)


def check_every_beginning(tier, answers, table, order):
    full = judged(tier, answers, table)
    decision = decide(tier, full)
    for count in range(1, len(order)):
        arrived = {i: answers[i] for i in order[:count]}
        alive = survivors(tier, [arrived.get(i) for i in range(len(answers))])
        result = settled(alive, order[count:], None if tier.token_level else matrix(alive.texts, table))
        if result is None:
            continue
        assert result.accepted == decision.accepted
        assert tier.token_level or worth_scoring(alive, order[count:])
        if decision.reason in ("agreement", "disagreement", "confident", "unsure"):
            assert full.value is not None
            assert result.lowest <= full.value <= result.highest
        if result.accepted and result.selection:
            assert result.selected == decision.selected


@pytest.mark.parametrize("agreement", ["max", "mean"])
@pytest.mark.parametrize("classes", ["xx", "xy", "xxx", "xxy", "xyx", "xyz"])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.45, 0.6, 0.9])
def test_equality_settles_whatever_no_completion_changes(agreement, classes, threshold):
    """All that the missing of four answers can be: equal to one that is there, to each other, new, empty, failed."""
    tier = replace(TRIO, models=tuple("abcd"), agreement=agreement, threshold=threshold)
    arrived = {i: reply(text) for i, text in enumerate(classes)}
    texts = ("x", "y", "z", "v", "w", "")
    endings = product([*map(reply, texts), FAILED], repeat=4 - len(arrived))
    table = {(a, b): float(a == b != "") for a, b in product(texts, repeat=2)}
    decisions = [decide(tier, judged(tier, [*arrived.values(), *more], table)) for more in endings]
    result = of(tier, arrived, matrix(classes, table))
    if len({decision.accepted for decision in decisions}) > 1:
        assert result is None
        return
    assert result is not None
    assert result.accepted == decisions[0].accepted
    if result.accepted:
        assert result.selection == (len({decision.selected for decision in decisions}) == 1)


def test_bounds_are_at_the_resolution_of_scores():
    result = of(replace(TRIO, agreement="mean", threshold=0.2), {0: X, 1: X}, EQUAL)
    assert result is not None
    assert result.lowest == resolved(1 / 3)
