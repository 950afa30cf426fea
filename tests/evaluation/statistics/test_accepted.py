from math import inf, isnan

import numpy as np
import pytest

from serve_app.evaluation.statistics.accepted import (
    accepted_at,
    gain_on_deferred,
    share_of,
    worst_accepted,
    wrong_if_independent,
)
from serve_app.evaluation.statistics.bootstrap import Interval
from serve_app.evaluation.statistics.curves import sweep

# From the least sure on: the first has no score, the second is better than the target's.
SCORES = [None, 0.1, 0.2, 0.5, 0.6, 0.7, 0.7, 0.9, 0.95, 1.0]
KEPT = [0.0, 1.0, 0.0, 0.5, 1.0, 0.0, 1.0, 0.25, 1.0, 0.0]
TARGET = [1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]


def test_what_is_accepted_by_hand():
    accepted = accepted_at(sweep(SCORES, KEPT, TARGET), 0.4)
    assert (accepted.threshold, accepted.rate) == (pytest.approx(0.55), 0.4)
    # Accepted: 1 = 1, 0 < 1, 1 = 1, .25 < 1, 1 > 0, 0 < 1.
    assert accepted.worse is not None
    assert accepted.worse.estimate == 0.5
    # Clopper-Pearson of 3 in 6: R's binom.test(3, 6).
    assert accepted.worse.low == pytest.approx(0.1181172, abs=1e-6)
    assert accepted.worse.high == pytest.approx(0.8818828, abs=1e-6)
    assert accepted.mean_loss == pytest.approx((0 + 1 + 0 + 0.75 + 0 + 1) / 6)


def test_what_deferring_gains_by_hand():
    gain = gain_on_deferred(sweep(SCORES, KEPT, TARGET), 0.4)
    assert gain is not None
    # Deferred: 1 - 0, 0 - 1, 1 - 0, 1 - .5.
    assert gain(np.ones((1, 10), dtype=np.intp)).tolist() == [1.5 / 4]
    assert gain_on_deferred(sweep([0.5, 0.5], [1, 0], [1, 1]), 0.2) is None


def test_the_nearest_rate_that_a_threshold_reaches():
    swept = sweep(SCORES, KEPT, TARGET)
    # No threshold accepts the one without a score, and none separates the two of .7.
    assert accepted_at(swept, 0.0).rate == 0.1
    assert accepted_at(swept, 0.59).rate == 0.5
    everything = accepted_at(swept, 1.0)
    assert (everything.threshold, everything.worse, everything.mean_loss) == (inf, None, 0.0)
    nothing = accepted_at(sweep([0.5, 0.5], [1, 0], [1, 1]), 0.2)
    assert (nothing.rate, nothing.threshold) == (0.0, -inf)


def test_the_worst_come_first_and_of_equals_the_surest():
    swept = sweep(SCORES, KEPT, TARGET)
    assert worst_accepted(swept, 0.4, 5).tolist() == [9, 5, 7]
    assert worst_accepted(swept, 0.4, 2).tolist() == [9, 5]
    assert worst_accepted(sweep([0.5, 0.5], [1, 1], [1, 0]), 0.0, 5).tolist() == []


def test_independent_members_by_hand():
    target = np.ones(10)
    a, b = np.repeat([0.0, 1.0], [2, 8]), np.repeat([1.0, 0.0], [5, 5])
    # .2 x .5 / (.2 x .5 + .8 x .5)
    assert wrong_if_independent(np.stack([a, b]), target) == pytest.approx(0.2)
    assert wrong_if_independent(np.stack([a, a]), target) == pytest.approx(0.04 / 0.68)
    assert wrong_if_independent(a[np.newaxis], target) == pytest.approx(0.2)  # it agrees with itself
    assert isnan(wrong_if_independent(np.stack([np.ones(10), np.zeros(10)]), target))


def test_independent_members_that_agree_are_wrong_as_often_as_that():
    """If wrong answers are all the same one."""
    generator = np.random.default_rng(0)
    members = (generator.random((3, 200_000)) < np.array([[0.9], [0.7], [0.6]])).astype(float)
    agreed = (members == members[0]).all(axis=0)
    expected = wrong_if_independent(members, np.ones(200_000))
    assert 1 - members[0, agreed].mean() == pytest.approx(expected, abs=0.002)


def test_a_share_of_none():
    assert share_of(np.zeros(0, dtype=np.bool_)) is None
    # binom.test(0, 20): one-sided .025 ** (1 / 20)
    assert share_of(np.zeros(20, dtype=np.bool_)) == Interval(0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 20)), 0.95)
