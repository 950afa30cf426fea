from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from serve_app.evaluation.statistics.betting import betting_p_values, blocks, examples_needed

losses_ = st.lists(st.floats(-1, 1), min_size=1, max_size=30)
alphas = st.floats(0.001, 0.999)


def test_the_capital_by_hand():
    # n = 3, alpha = .2, delta = .8: 2 log(1 / delta) / n = .148762. Bets are sqrt(.148762 / variance), at most 1.1875.
    # Loss 0:  variance 1/4,              bet .771394, capital 1 + .771394 * .2              = 1.154279
    # Loss 0:  mean 1/4, variance .15625, bet .975744, capital 1.154279 * (1 + .975744 * .2) = 1.379535
    # Loss .5: mean 1/6, variance .113426, bet 1.145221, capital 1.379535 * (1 - 1.145221 * .3) = .905573
    p = betting_p_values(np.array([[0, 0, 0.5], [0.5, 0, 0]]), 0.2, 0.8)
    assert p[0] == pytest.approx(1 / 1.379535, abs=1e-6)  # the highest capital counts, even if it is lost again
    # The other row: .768582; mean 1/2, variance .125, bet 1.090915, capital .936273; mean 1/3, variance .120370,
    # bet 1.111698, capital 1.144444.
    assert p[1] == pytest.approx(1 / 1.144444, abs=1e-6)


def test_no_bet_takes_more_than_95_percent_of_what_could_be_lost():
    # One example: the bet would be sqrt(2 log 10 / .25) = 4.29, but is .95 / (1 - .5) = 1.9.
    assert_allclose(betting_p_values(np.array([[0.0], [1.0], [-1.0]]), 0.5, 0.1), [1 / 1.95, 1, 1 / (1 + 1.9 * 1.5)])


def test_48_examples_without_a_loss_show_5_percent():
    # The capital grows by at most 1.05 each time: log(10) / log(1.05) = 47.2.
    assert betting_p_values(np.zeros((1, 48)), 0.05, 0.1)[0] <= 0.1 < betting_p_values(np.zeros((1, 47)), 0.05, 0.1)[0]


def test_steady_losses_need_fewer_examples_than_ones_of_0_and_1():
    steady, wild = np.full(200, 0.04), np.tile([1.0] + [0.0] * 24, 8)
    p = betting_p_values(np.stack([steady, wild]), 0.08, 0.1)
    assert p[0] < 0.01 < 0.1 < p[1]


@given(losses_, alphas, alphas, st.floats(0.01, 0.5))
def test_p_values_are_between_0_and_1_and_fall_as_alpha_rises(losses, first, second, delta):
    rows = np.array([losses])
    low, high = (betting_p_values(rows, alpha, delta)[0] for alpha in sorted((first, second)))
    assert 0 <= high <= low * (1 + 1e-9) <= 1 + 1e-9


@given(st.lists(st.lists(st.floats(0, 1), min_size=5, max_size=5), min_size=1, max_size=4), alphas)
def test_rows_are_bet_on_apart_from_each_other(rows, alpha):
    together = betting_p_values(np.array(rows), alpha, 0.1)
    assert_allclose(together, [betting_p_values(np.array([row]), alpha, 0.1)[0] for row in rows])


@given(losses_, alphas)
def test_losses_above_alpha_show_nothing(losses, alpha):
    assert betting_p_values(np.maximum([losses], alpha), alpha, 0.1)[0] == pytest.approx(1)


def test_blocks_cover_all_rows():
    assert [(block.start, block.stop) for block in blocks(5, 7_000)] == [(0, 2), (2, 4), (4, 5)]
    assert [(block.start, block.stop) for block in blocks(2, 10**9)] == [(0, 1), (1, 2)]


def test_examples_needed():
    # With losses of 0 and 1 the growth is KL(.05 || .1) = .016706: log(10) / .016706 = 137.8.
    assert examples_needed(np.array([1.0] + [0.0] * 19), 0.1, 0.1) == 138
    # Without a loss each example multiplies by 1 + .95 / .95 * .05 = 1.05.
    assert examples_needed(np.zeros(3), 0.05, 0.1) == 48
    assert examples_needed(np.full(3, 0.05), 0.05, 0.1) is None
    # 1 - .7 is a little more than .3 in floating point: no number of such examples is enough, either.
    assert examples_needed(np.array([1.0] * 3 + [0.0] * 7), 1 - 0.7, 0.1) is None
    # Nearly constant losses of .04: the boldest bet, 1, grows by 1.01 each time.
    assert examples_needed(np.full(9, 0.04), 0.05, 0.1) == np.ceil(log(10) / log(1.01))
