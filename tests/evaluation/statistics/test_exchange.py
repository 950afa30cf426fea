"""The points of a front that some exchange rate leads to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evaluation.statistics.exchange import hull
from serve_app.evaluation.statistics.pareto import Setting


def setting(cost: float, quality: float) -> Setting:
    return Setting((cost,), cost, quality, 0.0)


def test_what_no_exchange_rate_pays_for_is_left_out() -> None:
    """From 1 to 3 quality costs 2/.4 a point. At 2 it is dearer, at 4 no better, at 6 it costs 3/.1."""
    settings = [setting(4, 0.7), setting(1, 0.5), setting(2, 0.6), setting(3, 0.9), setting(6, 1.0)]
    assert [point.cost for point in hull(settings, 10)] == [1, 3, 6]


def test_points_on_one_line_are_one_choice() -> None:
    assert [point.cost for point in hull([setting(0, 0.25), setting(1, 0.5), setting(2, 0.75)], 10)] == [0, 2]


def test_of_many_an_even_choice_with_both_ends_is_left() -> None:
    settings = [setting(k * k, k / 10) for k in range(11)]
    assert [point.cost for point in hull(settings, 11)] == [k * k for k in range(11)]
    assert [point.cost for point in hull(settings, 3)] == [0, 25, 100]


points = st.builds(setting, st.integers(0, 20).map(float), st.integers(0, 20).map(lambda k: k / 20))


@given(st.lists(points, min_size=1, max_size=8), st.floats(0, 1000))
def test_every_exchange_rate_has_its_best_point_on_the_hull(settings: list[Setting], worth: float) -> None:
    def loss(point: Setting) -> float:
        return point.cost - worth * point.quality

    assert min(map(loss, hull(settings, 100))) == pytest.approx(min(map(loss, settings)), abs=1e-9)
