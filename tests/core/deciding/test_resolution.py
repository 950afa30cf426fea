"""Scores have one resolution, so that what differs by the rounding of floats is a tie everywhere."""

from dataclasses import replace
from itertools import permutations
from math import inf, isnan, nan, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.deciding.agreement import resolved
from serve_app.core.deciding.deferral import decide
from serve_app.core.types.answer import Generation
from serve_app.core.types.policy import Tier
from serve_app.core.types.scores import Matrix
from tests.core.deciding.judging import agreed, confided

ANSWERS = [Generation(name, "stop", 1, 1) for name in "abcd"]
TIER = Tier(("a", "b", "c", "d"), signal="exact", threshold=1 / 3)
HUNDREDTHS = st.integers(-100, 100).map(lambda k: k / 100)
NOISE = st.floats(-1e-15, 1e-15)


def square(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[list[float]]]:
    return st.lists(st.lists(values, min_size=4, max_size=4), min_size=4, max_size=4)


def frozen(rows: list[list[float]]) -> Matrix:
    return tuple(map(tuple, rows))


@given(square(HUNDREDTHS), square(NOISE), st.sampled_from(("max", "mean")))
def test_the_rounding_of_floats_changes_no_decision(similarities, noise, agreement) -> None:
    tier = replace(TIER, agreement=agreement)
    noisy = [
        [a + b for a, b in zip(row, noise_row, strict=True)] for row, noise_row in zip(similarities, noise, strict=True)
    ]
    assert agreed(tier, ANSWERS, frozen(noisy)) == agreed(tier, ANSWERS, frozen(similarities))


@given(square(HUNDREDTHS), st.sampled_from(list(permutations(range(4)))))
def test_the_order_of_the_members_changes_no_agreement(similarities, order) -> None:
    shuffled = [[similarities[i][j] for j in order] for i in order]
    for agreement in ("max", "mean"):
        tier = replace(TIER, agreement=agreement)
        before, after = (agreed(tier, ANSWERS, frozen(rows)) for rows in (similarities, shuffled))
        assert after.value == before.value
        assert after.output_scores == tuple(before.output_scores[i] for i in order)


@pytest.mark.parametrize("value", [1 / 3, 2 / 3, 0.1, 0.7017, 1.0, -1.0])
def test_a_threshold_accepts_the_score_that_it_is(value: float) -> None:
    same = ((value,) * 4,) * 4
    for threshold in (value, nextafter(value, inf), nextafter(value, -inf)):
        tier = replace(TIER, threshold=threshold)
        assert decide(tier, agreed(tier, ANSWERS, same)).accepted
    higher = replace(TIER, threshold=value + 2e-9)
    assert not decide(higher, agreed(higher, ANSWERS, same)).accepted


def test_what_is_not_finite_stays_so() -> None:
    assert (resolved(inf), resolved(-inf)) == (inf, -inf)
    assert isnan(resolved(nan))
    tier = replace(TIER, confidence=lambda *_: -inf)
    assert confided(tier, ANSWERS, lambda *_: -inf).value == -inf
