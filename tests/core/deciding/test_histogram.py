"""Histograms of agreement: bins worked out by hand."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.deciding.histogram import BINS, Histogram
from serve_app.core.types.signal_range import Range

VALUES = st.lists(st.floats(-1e9, 1e9), max_size=30)


def test_it_is_over_the_signals_range() -> None:
    histogram = Histogram.of([0.5, 1.0, 0.5], Range(0.0, 1.0))
    assert (histogram.low, histogram.high) == (0.0, 1.0)
    assert histogram.counts == (*[0] * 20, 2, *[0] * 18, 1)


def test_it_widens_to_hold_every_value() -> None:
    assert Histogram.of([-1.0, 3.0], None).counts == (1, *[0] * 38, 1)
    assert Histogram.of([], Range(2.0, 2.0)).counts == (0,) * BINS
    assert Histogram.of([2.0], Range(2.0, 2.0)).counts == (1, *[0] * 39)


def test_where_the_range_has_no_end_the_bins_end_with_the_values() -> None:
    log_probabilities = Range(-inf, 0.0)
    histogram = Histogram.of([-4.0, -1.0], log_probabilities)
    assert (histogram.low, histogram.high, histogram.counts[0], histogram.counts[30]) == (-4.0, 0.0, 1, 1)
    assert Histogram.of([], log_probabilities).to_json() == {"low": 0.0, "high": 0.0, "counts": [0] * BINS}
    assert Histogram.of([], Range(-inf, inf)).to_json() == {"low": 0.0, "high": 0.0, "counts": [0] * BINS}


def test_others_are_counted_in_the_same_bins_and_at_the_ends_if_they_lie_outside() -> None:
    assert Histogram(0.0, 4.0, (5, 0, 0, 1)).filled([1.0, 1.5, -9.0, 9.0, 4.0]) == Histogram(0.0, 4.0, (1, 2, 0, 2))


@given(VALUES, VALUES)
def test_every_value_is_in_one_bin(values: list[float], more_values: list[float]) -> None:
    histogram = Histogram.of(values, Range(0.0, 1.0))
    assert sum(histogram.counts) == len(values)
    assert sum(histogram.filled(more_values).counts) == len(more_values)
    assert histogram.filled(values) == histogram
