from itertools import product
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evaluation.statistics import pareto
from serve_app.evaluation.statistics.curves import sweep
from serve_app.evaluation.statistics.pareto import (
    RecordedTarget,
    RecordedTier,
    Setting,
    answered_by,
    arrivals,
    even_path,
    front,
    front_of,
    run,
)


def tier(scores, selected, cost):
    return RecordedTier(*(np.array(values, dtype=float) for values in (scores, selected, cost)))


FIRST = tier([0.9, 0.1, nan, 0.4], [1, 0, 0, 0], [1, 1, 1, 1])
SECOND = tier([0.5, 0.8, 0.7, 0.2], [1, 1, 0, 0], [3, 3, 3, 5])
TARGET = RecordedTarget(np.array([1.0, 1, 1, 1]), np.array([10.0, 10, 10, 20]))


def test_run_by_hand():
    # First tier keeps the first example; second the next two; the fourth goes to the target: 1, 4, 4, 26.
    assert run([FIRST, SECOND], TARGET, [0.5, 0.5]) == Setting((0.5, 0.5), 35 / 4, 0.75, 0.75)
    assert run([FIRST], TARGET, [-inf]) == Setting((-inf,), 14 / 4, 0.5, 0.25)
    assert run([], TARGET, []) == Setting((), 12.5, 1.0, 1.0)


def test_answered_by_hand():
    scores = [FIRST.scores, SECOND.scores]
    assert answered_by(scores, [0.5, 0.5]).tolist() == [0, 1, 1, 2]
    assert answered_by(scores, [-inf, inf]).tolist() == [0, 0, 2, 0]


def test_an_even_path_by_hand():
    # The first tier can keep three of four: a step of the path is a third of these, and a third of the second's four.
    path = even_path([FIRST.scores, SECOND.scores], 4)
    np.testing.assert_allclose(path, [[-inf, -inf], [0.25, 0.35], [0.65, 0.75], [inf, inf]])
    assert arrivals([FIRST.scores, SECOND.scores], path).tolist() == [[0, 0, 0, 0], [3, 1, 0, 2], [3, 3, 2, 2]]


@given(st.lists(st.lists(st.sampled_from([nan, 0, 1, 2, 3, 4]), min_size=7, max_size=7), min_size=1, max_size=3))
def test_a_path_defers_more_and_more_until_all(columns):
    scores = [np.array(column, dtype=float) for column in columns]
    path = even_path(scores, 15)
    assert (path[1:] >= path[:-1]).all()
    assert (path[-1] == inf).all()
    if len(scores) == 1:  # then all thresholds are on it
        assert len(path) == len(np.unique(scores[0][~np.isnan(scores[0])])) + 1
    begins = arrivals(scores, path)
    for number, thresholds in enumerate(path):
        assert answered_by(scores, thresholds).tolist() == ((begins <= number).sum(axis=0) - 1).tolist()


def test_front_by_hand():
    costs, qualities = [3, 1, 2, 2, 3, 4, 1], [0.9, 0.5, 0.4, 0.7, 0.9, 0.8, 0.5]
    assert front(costs, qualities).tolist() == [1, 3, 0]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20))
def test_front_is_what_nothing_dominates(points):
    def dominated(a):
        return any(b[0] <= a[0] and b[1] >= a[1] and b != a for b in points)

    selected = [points[k] for k in front(*zip(*points, strict=True))]
    assert selected == sorted({point for point in points if not dominated(point)})


def test_front_of_one_tier_is_on_its_cost_curve():
    generator = np.random.default_rng(0)
    small = tier(generator.random(50), generator.random(50), np.full(50, 2.0))
    target = RecordedTarget(generator.random(50) + 0.2, np.full(50, 10.0))
    curve = sweep(small.scores, small.selected, target.quality).cost_curve(small.cost, target.cost)
    settings = front_of([small], target)
    selected = front(curve.x, curve.quality)
    assert [(setting.cost, setting.quality) for setting in settings] == [
        (pytest.approx(curve.x[k]), pytest.approx(curve.quality[k])) for k in selected
    ]


@given(st.integers(0, 10_000))
def test_front_of_two_tiers_is_that_of_all_threshold_pairs(seed):
    generator = np.random.default_rng(seed)
    n = 6
    tiers = [
        tier(np.where(generator.random(n) < 0.2, nan, generator.integers(4, size=n)), generator.random(n), cost)
        for cost in (np.full(n, 1.0), generator.random(n) + 2)
    ]
    target = RecordedTarget(generator.random(n), np.full(n, 10.0))
    everything = [run(tiers, target, pair) for pair in product([-inf, 0.5, 1.5, 2.5, inf], repeat=2)]
    selected = front(
        [round(setting.cost, 9) for setting in everything], [round(setting.quality, 9) for setting in everything]
    )
    settings = front_of(tiers, target)
    # Equal points may come twice, a rounding error apart.
    assert {(round(setting.cost, 9), round(setting.quality, 9)) for setting in settings} == {
        (round(everything[k].cost, 9), round(everything[k].quality, 9)) for k in selected
    }
    for setting in settings:
        again = run(tiers, target, setting.thresholds)
        assert (again.cost, again.quality, again.deferred) == (
            pytest.approx(setting.cost),
            pytest.approx(setting.quality),
            pytest.approx(setting.deferred),
        )


def test_a_front_does_not_depend_on_how_many_thresholds_are_tried_at_once(monkeypatch):
    generator = np.random.default_rng(0)
    tiers = [tier(generator.random(40), generator.random(40), np.full(40, cost)) for cost in (1.0, 2.0, 3.0)]
    target = RecordedTarget(generator.random(40) + 0.2, np.full(40, 10.0))
    at_once = front_of(tiers, target)
    assert len(at_once) > 10
    monkeypatch.setattr(pareto, "BLOCK_BYTES", 1)
    assert front_of(tiers, target) == at_once
