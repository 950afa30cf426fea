from math import cos, fsum, pi, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.types.signal_range import Range

COSINE, EXACT = Range(-1, 1, "angles"), Range(0, 1, "equality")
VECTORS = st.lists(st.floats(-1, 1), min_size=3, max_size=3).filter(lambda vector: max(map(abs, vector)) > 0.01)


def cosine(first: list[float], second: list[float]) -> float:
    def product(a: list[float], b: list[float]) -> float:
        return fsum(x * y for x, y in zip(a, b, strict=True))

    return max(-1.0, min(1.0, product(first, second) / sqrt(product(first, first) * product(second, second))))


@given(st.lists(VECTORS, min_size=1, max_size=4), VECTORS)
def test_no_vector_is_nearer_to_all_others(vectors, another):
    similarities = [[cosine(a, b) for b in vectors] for a in vectors]
    assert sum(cosine(another, vector) for vector in vectors) <= COSINE.nearest(similarities)


def test_the_middle_of_two_vectors_is_the_nearest_to_both():
    assert COSINE.nearest([[1, 0.5], [0.5, 1]]) == pytest.approx(2 * cos(pi / 6), abs=1e-5)
    assert COSINE.nearest([[1, 1], [1, 1]]) == 2


def test_a_blank_text_keeps_the_triangle_inequality():
    """It has -1 with every other and with another blank one: an angle of 180 degrees."""
    assert COSINE.nearest([[1, -1], [-1, 1]]) == pytest.approx(0, abs=1e-5)


def test_an_equal_text_joins_the_largest_class():
    assert EXACT.nearest([[1, 1, 0], [1, 1, 0], [0, 0, 1]]) == 2
    assert EXACT.nearest([[1, 0], [0, 1]]) == 1


def test_values_of_other_signals_say_nothing_about_a_third_text():
    assert Range(0, 1).nearest([[1, 0], [0, 1]]) == 2
