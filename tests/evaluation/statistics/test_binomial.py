from fractions import Fraction
from math import comb

import numpy as np
import pytest
from numpy.testing import assert_allclose

from serve_app.evaluation.statistics.binomial import binomial_cdf, binomial_interval


@pytest.mark.parametrize("n", [1, 7, 60])
@pytest.mark.parametrize("p", [Fraction(1, 20), Fraction(1, 2), Fraction(9, 10)])
def test_binomial_tail_is_exact(n, p):
    exact, total = [], Fraction(0)
    for k in range(n + 1):
        total += comb(n, k) * p**k * (1 - p) ** (n - k)
        exact.append(float(total))
    assert_allclose(binomial_cdf(n, float(p)), exact, rtol=1e-12)


def test_binomial_tail_of_many():
    # Symmetric: P(X <= 50,000) = 1/2 + P(X = 50,000) / 2, and Stirling's series gives the latter.
    n = 100_000
    middle = (2 / (np.pi * n)) ** 0.5 * (1 - 1 / (4 * n))
    assert binomial_cdf(n, 0.5)[n // 2] == pytest.approx(0.5 + middle / 2, rel=1e-8)


def test_clopper_pearson():
    # For 0 of n the upper end is 1 - tail^(1 / n); 7 of 20 is the textbook's (.1539, .5922).
    assert binomial_interval(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1))
    assert binomial_interval(10, 10) == (pytest.approx(0.025**0.1), 1.0)
    assert binomial_interval(7, 20) == (pytest.approx(0.1539, abs=5e-5), pytest.approx(0.5922, abs=5e-5))
    # A share and its complement mirror each other: R's binom.test(900, 1000) has (.8796927, .9179102).
    assert binomial_interval(900, 1000) == (pytest.approx(0.8797, abs=5e-5), pytest.approx(0.9179, abs=5e-5))
    assert binomial_interval(100, 1000) == pytest.approx(tuple(1 - end for end in binomial_interval(900, 1000)[::-1]))
