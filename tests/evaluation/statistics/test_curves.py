from itertools import pairwise, permutations
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from serve_app.errors import DataError
from serve_app.evaluation.statistics.curves import AtBudget, Point, at_budgets, order, sweep

# Deferred in this order: the one without a score, .2, the two of .5, .9.
SCORES = [0.9, 0.2, 0.5, 0.5, None]
KEPT = [1, 0, 1, 0, 0]
TARGET = [1, 1, 0, 1, 1]


def test_order_by_hand():
    ordered = order(SCORES)
    assert ordered.index.tolist()[:2] == [4, 1]
    assert set(ordered.index.tolist()[2:4]) == {2, 3}
    assert_array_equal(ordered.ends, [0, 1, 2, 4, 5])
    assert_array_equal(ordered.thresholds, [nan, -inf, 0.35, 0.7, inf])
    assert_array_equal(ordered.reachable, [False, True, True, True, True])


def test_deferral_curve_by_hand():
    curve = sweep(SCORES, KEPT, TARGET).deferral_curve()
    assert_allclose(curve.x, [0, 0.2, 0.4, 0.8, 1])
    assert_allclose(curve.quality, [0.4, 0.6, 0.8, 0.8, 0.8])
    # .2 (.4 + .6) / 2 + .2 (.6 + .8) / 2 + .4 x .8 + .2 x .8
    assert curve.area == pytest.approx(0.72)
    assert curve.floor == pytest.approx(0.2)
    assert curve.point(2) == Point(0.35, 0.4, 0.4, 0.8)


def test_standard_errors_by_hand():
    errors = sweep(SCORES, KEPT, TARGET).standard_errors()
    # Of 0 and 1 with means of .4, .6, .8, .8 and .8: the root of mean (1 - mean) / 5.
    assert_allclose(errors, np.sqrt([0.24 / 5, 0.24 / 5, 0.16 / 5, 0.16 / 5, 0.16 / 5]))
    assert_allclose(sweep([1, 2], [0.5, 0.5], [0.5, 0.5]).standard_errors(), [0, 0, 0])


def test_cost_curve_and_budgets_by_hand():
    curve = sweep(SCORES, KEPT, TARGET).cost_curve([1, 1, 1, 1, 1], [4, 4, 2, 6, 4])
    assert_allclose(curve.x, [1, 1.8, 2.6, 4.2, 5])
    assert_allclose(curve.quality, [0.4, 0.6, 0.8, 0.8, 0.8])
    bought = at_budgets(curve, target_cost=4.0, shares=(0.4, 0.6, 0.65, 2))
    assert bought[0.4] is None  # 1.6: keeping all would cost 1, but no threshold keeps the one without a score
    between = bought[0.6]  # 2.4 is 3/4 of the way from 1.8 to 2.6
    assert between == AtBudget(pytest.approx(2.4), pytest.approx(0.75), Point(-inf, 0.2, pytest.approx(1.8), 0.6))
    exact = bought[0.65]
    assert exact is not None
    assert (exact.point.threshold, exact.quality) == (0.35, pytest.approx(0.8))
    everything = bought[2]
    assert everything is not None
    assert everything.point.threshold == inf


def test_a_free_target_has_no_shares_to_buy():
    curve = sweep(SCORES, KEPT, TARGET).cost_curve(np.zeros(5), np.zeros(5))
    assert at_budgets(curve, target_cost=0.0) == {0.1: None, 0.2: None, 0.4: None, 0.6: None}


@pytest.mark.parametrize(
    ("scores", "ends", "thresholds"),
    [
        ([0.5], [0, 1], [-inf, inf]),
        ([None, None], [0, 2], [nan, inf]),
        ([3, 3, 3], [0, 3], [-inf, inf]),
        ([-inf, 1.0], [0, 1, 2], [-inf, 0.5, inf]),  # -inf itself would keep both
        ([0.0, 5e-324], [0, 1, 2], [-inf, 5e-324, inf]),  # nothing lies between
        ([-1.7e308, 1.7e308], [0, 1, 2], [-inf, 0.0, inf]),
    ],
)
def test_thresholds_at_the_edges(scores, ends, thresholds):
    ordered = order(scores)
    assert_array_equal(ordered.ends, ends)
    assert_array_equal(ordered.thresholds, thresholds)


def test_scores_within_the_resolution_are_tied():
    scores = [0.3, 0.1 + 0.2, 0.4]
    assert len(order(scores).thresholds) == 4
    assert_array_equal(order(scores, 1e-9).ends, [0, 2, 3])


def test_spread_is_even_and_keeps_the_ends():
    ordered = order(np.arange(1000.0))
    assert_array_equal(ordered.spread(5), [0, 250, 500, 750, 1000])
    assert_array_equal(order([None, 1, 2]).spread(100), [1, 2, 3])
    assert_array_equal(order([None]).spread(100), [1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], []), "n >= 1 examples"),
        (([1, inf], [0, 0], [0, 0]), r"\+inf"),
        (([1, 2], [0], [0, 0]), "'selected' must have shape"),
        (([1, 2], [0, None], [0, 0]), "'selected' must be finite, but example 1 is not"),
        (([1, 2], [0, 0], [nan, 0]), "'target' must be finite, but example 0"),
    ],
)
def test_what_cannot_be_swept(arguments, message):
    with pytest.raises(DataError, match=message):
        sweep(*arguments)


def test_negative_costs_are_refused():
    with pytest.raises(DataError, match="'target_cost' must not be negative"):
        sweep([1], [1], [1]).cost_curve([1], [-1])


few_scores = st.sampled_from([None, -1.0, 0.25, 0.5, 1e9])
quality = st.floats(0, 1)
examples = st.lists(st.tuples(few_scores, quality, quality), min_size=1, max_size=6)
many_examples = st.lists(st.tuples(st.none() | st.floats(-100, 100), quality, quality), min_size=1, max_size=50)


def columns(rows):
    return [list(column) for column in zip(*rows, strict=True)]


@given(examples)
def test_curve_is_the_mean_over_all_ways_to_break_ties(rows):
    def key(i):
        return -inf if rows[i][0] is None else rows[i][0]

    n = len(rows)
    orders = [way for way in permutations(range(n)) if all(key(a) <= key(b) for a, b in pairwise(way))]
    brute = [
        np.mean([sum(rows[i][2] for i in way[:k]) + sum(rows[i][1] for i in way[k:]) for way in orders]) / n
        for k in range(n + 1)
    ]
    curve = sweep(*columns(rows)).deferral_curve()
    assert_allclose(np.interp(np.arange(n + 1) / n, curve.x, curve.quality), brute, atol=1e-12)
    assert curve.area == pytest.approx(np.trapezoid(brute, dx=1 / n))


@given(many_examples)
def test_each_threshold_does_what_its_point_says(rows):
    scores, selected, target = columns(rows)
    curve = sweep(scores, selected, target).deferral_curve()
    for k in curve.reachable:
        accepted = np.array([s is not None and s >= curve.thresholds[k] for s in scores])
        assert 1 - accepted.mean() == pytest.approx(curve.rates[k])
        assert np.where(accepted, selected, target).mean() == pytest.approx(curve.quality[k])


@given(many_examples, st.randoms(use_true_random=False))
def test_area_sees_only_the_order_of_scores(rows, random):
    scores, selected, target = columns(rows)
    area = sweep(scores, selected, target).area
    transformed = [None if s is None else np.arctan(s / 50) * 1e6 - 3 for s in scores]
    if len(set(transformed)) == len(set(scores)):  # else rounding has made new ties
        assert sweep(transformed, selected, target).area == pytest.approx(area)
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert sweep(*columns(shuffled)).area == pytest.approx(area)


@given(many_examples)
def test_areas_of_counts_are_areas_of_repeated_examples(rows):
    scores, selected, target = columns(rows)
    swept = sweep(scores, selected, target)
    drawn = np.random.default_rng(1).integers(len(rows), size=(3, len(rows)))
    counts = np.stack([np.bincount(sample, minlength=len(rows)) for sample in drawn])
    explicit = [sweep(*columns([rows[i] for i in sample])).area for sample in drawn]
    assert_allclose(swept.areas(counts), explicit, atol=1e-12)
    assert_allclose(swept.areas(np.ones((1, len(rows)), dtype=int)), [swept.area], atol=1e-12)
