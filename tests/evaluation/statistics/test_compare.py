import numpy as np
import pytest

from serve_app.evaluation.statistics.bootstrap import Resampled, bootstrap, mean_of
from serve_app.evaluation.statistics.compare import holm, paired_p_value


def test_p_values_by_hand():
    zero = np.zeros(9)
    mixed = np.array([1.0, 1, 1, 1, 1, 1, 1, -1, 0])  # 2 at most 0, 8 at least 0
    resampled = Resampled({}, {"zero": zero, "mixed": mixed, "above": zero + 1})
    assert paired_p_value(resampled, "mixed", "zero") == pytest.approx(2 * 3 / 10)
    assert paired_p_value(resampled, "zero", "mixed") == pytest.approx(2 * 3 / 10)
    assert paired_p_value(resampled, "above", "zero") == pytest.approx(2 / 10)
    assert paired_p_value(resampled, "zero", "zero") == 1.0


def test_equal_statistics_are_rarely_called_different():
    generator = np.random.default_rng(5)
    rejected = 0
    for trial in range(200):
        a, b = generator.normal(size=(2, 80))
        resampled = bootstrap({"a": mean_of(a), "b": mean_of(b)}, 80, resamples=200, seed=trial)
        rejected += paired_p_value(resampled, "a", "b") <= 0.05
    assert rejected <= 20  # 10 are expected; more than 20 has a probability of .001


def test_holm_by_hand():
    # Sorted .005 x 4, .01 x 3, .03 x 2, .04 x 1, and never below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.4]) == pytest.approx([0.8, 0.8])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
