import pytest

from serve_app.core.percentiles import nearest_rank


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 2), (75, 3), (76, 4), (95, 4), (100, 4)])
def test_nearest_rank(percent: float, value: float) -> None:
    assert nearest_rank([4, 2, 1, 3], percent) == value


def test_the_rank_is_not_rounded_up_by_floats() -> None:
    assert nearest_rank(range(1, 101), 7) == 7


def test_no_values_have_no_percentile() -> None:
    assert nearest_rank([], 50) is None
