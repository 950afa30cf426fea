from collections.abc import Sequence
from dataclasses import replace
from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.deciding.agreement import output_scores, resolved, survivors
from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.core.types.policy import Agreement, Tier
from serve_app.core.types.scores import Matrix
from tests.core.deciding.judging import agreed, confided

FAILED = Failure("error", "Broken.")


def reply(text: str, finish_reason: str = "stop", tokens: int = 1) -> Generation:
    return Generation(text, "length" if finish_reason == "length" else "stop", 1, tokens)


A, B, C, EMPTY = reply("a"), reply("b"), reply("c"), reply("")
PAIR = Tier(("a", "b"), signal="exact")
TRIO = Tier(("a", "b", "c"), signal="exact")

# Rows have means .375, .75, .125; columns .5, .375, .375.
LOPSIDED: Matrix = ((1, 0.5, 0.25), (1, 1, 0.5), (0, 0.25, 1))


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ("hypothesis", (0.375, 0.75, 0.125)),
        ("reference", (0.5, 0.375, 0.375)),
        ("both", (0.4375, 0.5625, 0.25)),
    ],
)
def test_output_scores_by_direction(direction, expected):
    assert output_scores(LOPSIDED, direction) == expected


def test_output_scores_default_to_both_directions():
    assert output_scores(LOPSIDED) == output_scores(LOPSIDED, "both")


def test_output_scores_of_two_texts():
    assert output_scores(((1, 0.5), (0.25, 1))) == (0.375, 0.375)


def test_output_scores_ignore_the_diagonal():
    assert output_scores(((9, 0.5), (0.5, nan))) == (0.5, 0.5)


@pytest.mark.parametrize("similarities", [(), ((1.0,),)])
def test_output_scores_need_two_texts(similarities):
    with pytest.raises(ValueError, match="at least two"):
        output_scores(similarities)


@pytest.mark.parametrize("n", range(2, 8))
@pytest.mark.parametrize("similarity", [0.1, 0.7, 0.8, 1 / 3])
def test_equal_similarities_are_their_own_mean(n, similarity):
    """.1 + .1 + .1 divided by 3 is more than .1: then a threshold of .7 would defer where everything scores .7."""
    tier = Tier(tuple("abcdefgh"[:n]), signal="exact", agreement="mean")
    judged = agreed(tier, [A] * n, ((similarity,) * n,) * n)
    assert judged.output_scores == (resolved(similarity),) * n
    assert judged.value == resolved(similarity)


@pytest.mark.parametrize(
    ("tier", "value", "selected"),
    [
        (TRIO, 0.5625, 1),
        (replace(TRIO, agreement="mean"), 1.25 / 3, 1),
        (replace(TRIO, direction="hypothesis"), 0.75, 1),
        (replace(TRIO, direction="reference"), 0.5, 0),
        (replace(TRIO, direction="reference", agreement="mean"), 1.25 / 3, 0),
    ],
)
def test_agreement_and_selected_answer(tier, value, selected):
    judged = agreed(tier, [A, B, C], LOPSIDED)
    assert (judged.value, judged.selected) == (round(value, 9), selected)
    assert judged.survivors == (0, 1, 2)


def test_ties_go_to_the_model_named_first():
    equal = ((1, 0.5, 0.5), (0.5, 1, 0.5), (0.5, 0.5, 1))
    assert agreed(TRIO, [A, B, C], equal).selected == 0
    assert agreed(TRIO, [EMPTY, B, C], equal).selected == 1


def test_two_members_with_a_symmetric_signal_always_tie():
    assert agreed(PAIR, [A, B], ((1, 0.25), (0.25, 1))) == Agreement((0, 1), (0.25, 0.25), 0.25, 0)


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_an_empty_answer_counts_but_is_never_selected(text):
    """The empty answer is the most central one here, and still not the one that goes back."""
    similarities = ((1, 0.5, 0.5), (0.5, 1, 0), (0.5, 0, 1))
    judged = agreed(TRIO, [reply(text), B, C], similarities)
    assert judged == Agreement((0, 1, 2), (0.5, 0.25, 0.25), 0.5, 1)


def test_all_answers_empty():
    judged = agreed(PAIR, [EMPTY, reply("  ")], None)
    assert judged == Agreement((0, 1), (None, None), None, None)
    assert agreed(PAIR, [EMPTY, EMPTY], ((1, 0), (0, 1))).selected is None


def test_failed_members_have_no_row_in_the_matrix():
    judged = agreed(TRIO, [A, FAILED, C], ((1, 0.5), (0.5, 1)))
    assert judged == Agreement((0, 2), (0.5, None, 0.5), 0.5, 0)
    assert agreed(TRIO, [None, B, C], ((1, 0.5), (0.5, 1))).selected == 1


@pytest.mark.parametrize(
    ("answers", "selected"),
    [([A, FAILED], 0), ([FAILED, B], 1), ([EMPTY, FAILED], None), ([FAILED, FAILED], None)],
)
def test_what_cannot_be_compared_has_no_agreement(answers, selected):
    """The answer is named all the same: it may have to stand in for a target that fails."""
    judged = agreed(PAIR, answers, None)
    assert judged.value is None
    assert judged.output_scores == (None, None)
    assert judged.selected == selected


def test_a_scorer_that_failed_leaves_the_first_text():
    assert agreed(TRIO, [EMPTY, B, C], None) == Agreement((0, 1, 2), (None, None, None), None, 1)


def test_one_member_has_nothing_to_agree_with():
    assert agreed(Tier(("a",), signal="exact"), [A], ((1.0,),)) == Agreement((0,), (None,), None, 0)


def test_a_fixed_model_is_selected_whatever_its_score():
    assert agreed(replace(TRIO, select="c"), [A, B, C], LOPSIDED) == Agreement(
        (0, 1, 2), (0.4375, 0.5625, 0.25), 0.5625, 2
    )


def test_a_fixed_model_that_failed_or_is_empty_leaves_nothing():
    fixed = replace(TRIO, select="b")
    assert agreed(fixed, [A, FAILED, C], ((1, 0.5), (0.5, 1))).selected is None
    assert agreed(fixed, [A, EMPTY, C], LOPSIDED).selected is None
    assert agreed(fixed, [A, FAILED, FAILED], None).selected is None


def test_truncated_answers_are_kept_or_discarded():
    answers = [reply("a", "length"), B, C]
    assert survivors(TRIO, answers).indices == (0, 1, 2)
    discarding = replace(TRIO, truncated="discard")
    assert survivors(discarding, answers).indices == (1, 2)
    assert agreed(discarding, answers, ((1, 0.5), (0.5, 1))) == Agreement((1, 2), (None, 0.5, 0.5), 0.5, 1)
    assert agreed(discarding, [reply("a", "length")] * 3, None) == Agreement((), (None,) * 3, None, None)


def test_the_matrix_must_fit_the_survivors():
    with pytest.raises(ValueError, match="zip"):
        agreed(TRIO, [A, FAILED, C], LOPSIDED)


@pytest.mark.parametrize("agreement", ["max", "mean"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_nan_spoils_the_agreement_in_any_order(agreement, order):
    similarities = ((1, nan, 0.5), (nan, 1, 0.5), (0.5, 0.5, 1))
    shuffled = tuple(tuple(similarities[i][j] for j in order) for i in order)
    judged = agreed(replace(TRIO, agreement=agreement), [A, B, C], shuffled)
    assert judged.value is not None
    assert isnan(judged.value)
    assert judged.selected == order.index(2)  # the one answer whose score is a number


def test_infinities_of_both_signs_are_not_a_number_rather_than_an_error():
    judged = agreed(TRIO, [A, B, C], ((1, inf, -inf), (inf, 1, 0), (-inf, 0, 1)))
    assert judged.value is not None
    assert isnan(judged.value)


def test_confidences_are_averaged_and_the_surest_is_selected():
    values = {"a": -3.0, "b": -1.0, "c": -0.5}
    judged = confided(replace(TRIO, agreement="mean"), [A, B, C], lambda _, answer: values[answer.text])
    assert judged == Agreement((0, 1, 2), (-3.0, -1.0, -0.5), -1.5, 2)


def test_or_the_highest_confidence_is_the_agreement():
    values = {"a": -3.0, "b": -1.0, "c": -0.5}
    assert confided(TRIO, [A, B, C], lambda _, answer: values[answer.text]).value == -0.5


def test_confidence_is_told_whose_answer_it_judges():
    by_model = {TRIO.models[0]: 3.0, TRIO.models[1]: 1.0, TRIO.models[2]: 2.0}
    assert confided(TRIO, [A, FAILED, C], lambda model, _: by_model[model]).output_scores == (3.0, None, 2.0)


def test_confidence_of_one_member():
    assert confided(Tier(("a",)), [A], lambda *_: -0.25) == Agreement((0,), (-0.25,), -0.25, 0)


def test_confidence_is_not_asked_of_failed_or_discarded_answers():
    tier = replace(TRIO, truncated="discard")
    judged = confided(tier, [FAILED, reply("b", "length"), C], lambda _, answer: {"c": -2.0}[answer.text])
    assert judged == Agreement((2,), (None, None, -2.0), -2.0, 2)
    assert confided(tier, [FAILED] * 3, lambda *_: 0.0) == Agreement((), (None,) * 3, None, None)


def test_confidence_without_log_probabilities_is_minus_infinity():
    values = {"a": -inf, "b": -1.0, "c": -inf}
    judged = confided(replace(TRIO, agreement="mean"), [A, B, C], lambda _, answer: values[answer.text])
    assert (judged.value, judged.selected) == (-inf, 1)


def test_confidence_of_an_empty_answer_never_selects_it():
    assert confided(
        replace(PAIR, agreement="mean"), [EMPTY, B], lambda _, answer: -1.0 if answer.text else 0.0
    ) == Agreement((0, 1), (0.0, -1.0), -0.5, 1)


# Properties. Values far below 1e-200 are left out: there, scaling loses bits to subnormal numbers.
values = st.floats(-1, 1).map(lambda x: x if abs(x) > 1e-200 else 0.0)
tiers = st.builds(
    Tier,
    models=st.just(()),
    signal=st.just("exact"),
    agreement=st.sampled_from(["max", "mean"]),
    direction=st.sampled_from(["both", "hypothesis", "reference"]),
)


def square(n: int, elements: st.SearchStrategy[float] = values) -> st.SearchStrategy[Matrix]:
    return st.tuples(*[st.tuples(*[elements] * n)] * n)


@st.composite
def judgeable(draw: st.DrawFn, elements: st.SearchStrategy[float] = values) -> tuple[Tier, list[Answer], Matrix]:
    """Draw a tier, its answers (some failed or empty, at least two survive) and the survivors' matrix."""
    alive = draw(st.integers(2, 5))
    failed = draw(st.integers(0, 2))
    texts = [reply(draw(st.sampled_from(["", "x", "y"]))) for _ in range(alive)]
    answers: list[Answer] = draw(st.permutations([*texts, *[FAILED] * failed]))
    tier = replace(draw(tiers), models=tuple(f"m{i}" for i in range(len(answers))))
    return tier, answers, draw(square(alive, elements))


def off_diagonal(similarities: Matrix) -> list[float]:
    return [value for i, row in enumerate(similarities) for j, value in enumerate(row) if i != j]


def permuted(
    tier: Tier, answers: Sequence[Answer], similarities: Matrix, order: Sequence[int]
) -> tuple[Tier, list[Answer], Matrix]:
    """Return the same with the members in another order; `order[k]` is the old index of the new member k."""
    rank = {old: row for row, old in enumerate(survivors(tier, answers).indices)}
    rows = [rank[old] for old in order if old in rank]
    matrix = tuple(tuple(similarities[i][j] for j in rows) for i in rows)
    return replace(tier, models=tuple(tier.models[i] for i in order)), [answers[i] for i in order], matrix


@given(judgeable(), st.data())
def test_permuting_members_permutes_scores_and_leaves_the_agreement(case, data):
    tier, answers, similarities = case
    order = data.draw(st.permutations(range(len(answers))))
    before = agreed(tier, answers, similarities)
    after = agreed(*permuted(tier, answers, similarities, order))
    assert after.output_scores == tuple(before.output_scores[i] for i in order)
    assert after.value == before.value  # exactly: not even a rounding error apart
    if before.selected is None:
        assert after.selected is None
    else:
        assert after.selected is not None
        assert after.output_scores[after.selected] == before.output_scores[before.selected]


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=6), st.data())
def test_permuting_members_leaves_the_mean_confidence(logprobs, data):
    order = data.draw(st.permutations(range(len(logprobs))))
    tier = Tier(tuple(map(str, order)))
    answers = [reply(str(i)) for i in range(len(logprobs))]
    before = confided(tier, answers, lambda _, answer: logprobs[int(answer.text)])
    after = confided(tier, [answers[i] for i in order], lambda _, answer: logprobs[int(answer.text)])
    assert after.value == before.value
    assert after.output_scores == tuple(before.output_scores[i] for i in order)


@given(judgeable(), st.integers(-8, 8))
def test_scaling_similarities_scales_the_output_scores(case, exponent):
    tier, _, similarities = case
    factor = 2.0**exponent
    before = output_scores(similarities, tier.direction)
    after = output_scores(tuple(tuple(factor * value for value in row) for row in similarities), tier.direction)
    assert after == tuple(factor * score for score in before)


@given(judgeable())
def test_agreement_lies_within_the_similarities(case):
    tier, answers, similarities = case
    by_max = agreed(replace(tier, agreement="max"), answers, similarities).value
    by_mean = agreed(replace(tier, agreement="mean"), answers, similarities).value
    assert by_max is not None
    assert by_mean is not None
    low, high = (resolved(bound(off_diagonal(similarities))) for bound in (min, max))
    assert low <= by_mean <= by_max <= high


@given(judgeable(), st.data())
def test_raising_a_similarity_never_lowers_the_agreement(case, data):
    tier, answers, similarities = case
    i, j = data.draw(st.sampled_from([(i, j) for i in range(len(similarities)) for j in range(len(similarities))]))
    raised = [list(row) for row in similarities]
    raised[i][j] += data.draw(st.floats(0, 1))
    before = agreed(tier, answers, similarities).value
    after = agreed(tier, answers, tuple(map(tuple, raised))).value
    assert before is not None
    assert after is not None
    assert after >= before


@given(st.integers(2, 5).flatmap(lambda n: square(n, st.integers(0, 64).map(lambda k: k / 64))))
def test_a_copy_of_the_selected_answer_never_lowers_the_agreement(similarities):
    """A copy agrees fully (1, the highest here) with its original, and with the others as the original does."""
    n = len(similarities)
    answers = [reply(str(i)) for i in range(n)]
    tier = Tier(tuple(map(str, range(n))), signal="exact")
    before = agreed(tier, answers, similarities)
    best = before.selected
    assert best is not None
    rows = [*similarities, similarities[best]]
    copied = tuple((*row[:n], 1.0 if i in (best, n) else row[best]) for i, row in enumerate(rows))
    copied = tuple(
        tuple(1.0 if {i, j} == {best, n} else value for j, value in enumerate(row)) for i, row in enumerate(copied)
    )
    after = agreed(replace(tier, models=(*tier.models, "copy")), [*answers, answers[best]], copied)
    assert before.value is not None
    assert after.value is not None
    assert after.value >= before.value
    assert after.output_scores[n] == after.output_scores[best]
    assert after.selected != n  # the tie goes to the model named first


@given(st.integers(2, 6))
def test_copies_of_one_answer_agree_fully(n):
    tier = Tier(tuple(map(str, range(n))), signal="exact")
    assert agreed(tier, [A] * n, ((1.0,) * n,) * n) == Agreement(tuple(range(n)), (1.0,) * n, 1.0, 0)


@given(judgeable(), st.data())
def test_a_fixed_model_changes_the_answer_but_not_the_agreement(case, data):
    tier, answers, similarities = case
    name = data.draw(st.sampled_from(tier.models))
    free, fixed = agreed(tier, answers, similarities), agreed(replace(tier, select=name), answers, similarities)
    assert (fixed.value, fixed.output_scores) == (free.value, free.output_scores)
    assert fixed.selected in (None, tier.models.index(name))
