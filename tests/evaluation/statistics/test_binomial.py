from fractions import Fraction
from math import comb, e, exp, log

import numpy as np
import pytest
from numpy.testing import assert_allclose

from serve_app.evaluation.statistics.binomial import (
    binomial_cdf,
    binomial_interval,
    divergence,
    examples_needed,
    p_values,
)


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


def test_divergence_by_hand():
    risks = np.array([0.0, 0.1, 0.2])
    expected = [-log(0.8), 0.1 * log(0.1 / 0.2) + 0.9 * log(0.9 / 0.8), 0.0]
    assert_allclose(divergence(risks, 0.2), expected, atol=1e-15)


def test_p_values_by_hand():
    # n = 10, alpha = .2; tails of Binomial(10, .2): .1074 at 0, .3758 at 1, .6778 at 2.
    totals = np.array([0.0, 0.4, 1.0, 2.5])
    found = p_values(totals, 10, 0.2, binary=False)
    hoeffding = [
        0.8**10,
        exp(-10 * (0.04 * log(0.2) + 0.96 * log(1.2))),
        exp(-10 * (0.1 * log(0.5) + 0.9 * log(1.125))),
    ]
    assert_allclose(found, [*hoeffding, 1.0])
    assert_allclose(p_values(np.array([0.0, 1.0, 2.0]), 10, 0.2, binary=True), [0.8**10, 0.37580964, 0.67779953])


def test_bentkus_is_used_where_it_is_smaller():
    totals, n, alpha = np.array([8.0]), 1000, 0.02
    hoeffding = exp(-n * (0.008 * log(0.4) + 0.992 * log(0.992 / 0.98)))
    exact = p_values(totals, n, alpha, binary=True)[0]
    assert e * exact < hoeffding
    assert p_values(totals, n, alpha, binary=False)[0] == pytest.approx(e * exact)


def test_examples_needed():
    # Without any loss (1 - alpha)^n <= delta: log .1 / log .95 = 44.9.
    assert examples_needed(0.0, 0.05, 0.1) == 45
    assert examples_needed(0.05, 0.05, 0.1) is None
    for binary in (True, False):
        n = examples_needed(0.03, 0.05, 0.1)
        assert n is not None
        assert p_values(np.array([np.floor(0.03 * n)]), n, 0.05, binary=binary)[0] <= 0.1


def test_the_order_of_summing_decides_nothing():
    one_way, other_way = sum([0.1] * 3 + [2.7]), sum([2.7] + [0.1] * 3)
    assert one_way != other_way
    found = p_values(np.array([one_way, other_way]), 1000, 0.01, binary=False)
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_clopper_pearson():
    # For 0 of n the upper end is 1 - tail^(1 / n); 7 of 20 is the textbook's (.1539, .5922).
    assert binomial_interval(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1))
    assert binomial_interval(10, 10) == (pytest.approx(0.025**0.1), 1.0)
    assert binomial_interval(7, 20) == (pytest.approx(0.1539, abs=5e-5), pytest.approx(0.5922, abs=5e-5))
