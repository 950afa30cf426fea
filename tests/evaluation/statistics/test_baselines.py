import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from serve_app.errors import DataError
from serve_app.evaluation.statistics.baselines import (
    oracle,
    partial_oracle,
    random_deferral,
    selection_shares,
)
from serve_app.evaluation.statistics.curves import sweep

# Two members and a target on four examples.
MEMBERS = [[1.0, 0.0, 0.5, 0.0], [0.0, 0.0, 1.0, 0.5]]
TARGET = [1.0, 1.0, 0.5, 1.0]


def test_oracle_by_hand():
    # Best answers 1, 0, 1, .5; the target is better by 0, 1, -.5, .5: deferred in the order 2nd, 4th, 1st, 3rd.
    curve = oracle(MEMBERS, TARGET).deferral_curve()
    assert_allclose(curve.quality, [2.5 / 4, 3.5 / 4, 1, 1, 3.5 / 4])


def test_oracle_of_one_model_by_hand():
    # 1, 0, .5, 0 against 1, 1, .5, 1: the second and fourth first, then the two that are equally good.
    curve = oracle(MEMBERS[:1], TARGET).deferral_curve()
    assert_allclose(curve.rates, [0, 0.5, 1])
    assert_allclose(curve.quality, [1.5 / 4, 3.5 / 4, 3.5 / 4])


def test_partial_oracle_keeps_the_best_answers_in_the_order_of_the_scores():
    curve = partial_oracle([4, 3, 2, 1], MEMBERS, TARGET).deferral_curve()
    assert_allclose(curve.quality, [2.5 / 4, 3 / 4, 2.5 / 4, 3.5 / 4, 3.5 / 4])


def test_members_of_the_wrong_shape_are_refused():
    with pytest.raises(DataError, match=r"\(members, examples\)"):
        oracle(TARGET, TARGET)


def test_areas_of_a_cascade_and_of_random_deferral_by_hand():
    # The cascade selects 1, 0, 1, 0 (mean .5) and defers the fourth, the second, the first, the third.
    cascade = sweep([0.8, 0.5, 0.9, 0.1], [1, 0, 1, 0], TARGET)
    # Curve .5, .75, 1, 1, .875; its area is (.5 / 2 + .75 + 1 + 1 + .875 / 2) / 4.
    assert cascade.area == pytest.approx(0.859375)
    assert random_deferral(cascade.selected, cascade.target).area == pytest.approx((0.5 + 0.875) / 2)


def test_selection_shares():
    assert selection_shares([0, 0, None, 2, 0], 3).tolist() == [0.75, 0, 0.25]
    assert selection_shares([None], 2).tolist() == [0, 0]


quality = st.floats(0, 1)
rows = st.lists(st.tuples(st.floats(-1, 1), quality, quality, quality), min_size=1, max_size=30)


@given(rows)
def test_random_is_the_mean_of_the_ends(rows):
    _, selected, _, target = map(np.array, zip(*rows, strict=True))
    assert random_deferral(selected, target).area == pytest.approx((selected.mean() + target.mean()) / 2)


@given(rows, st.integers(0, 1))
def test_no_curve_is_above_the_oracles(rows, selected):
    scores, first, second, target = map(np.array, zip(*rows, strict=True))
    members = np.stack([first, second])
    rates = np.arange(len(rows) + 1) / len(rows)

    def height(swept):
        curve = swept.deferral_curve()
        return np.interp(rates, curve.x, curve.quality)

    cascade, partial = sweep(scores, members[selected], target), partial_oracle(scores, members, target)
    full = oracle(members, target)
    assert (height(cascade) <= height(partial) + 1e-12).all()
    assert (height(partial) <= height(full) + 1e-12).all()
    assert (height(sweep(scores, first, target)) <= height(oracle([first], target)) + 1e-12).all()
