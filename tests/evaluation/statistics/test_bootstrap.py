import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from serve_app.evaluation.statistics.bootstrap import Resampled, bootstrap, draws, mean_of, mean_where
from serve_app.evaluation.statistics.curves import sweep


def test_intervals_by_hand():
    values = {"a": np.arange(101.0), "b": np.arange(101.0) - np.tile([1.0, 3.0], 51)[:101]}
    resampled = Resampled({"a": 50.0, "b": 49.0}, values)
    interval = resampled.interval("a", level=0.9)
    assert (interval.estimate, interval.low, interval.high, interval.level) == (
        50.0,
        pytest.approx(5),
        pytest.approx(95),
        0.9,
    )
    difference = resampled.difference("a", "b")
    assert (difference.estimate, difference.low, difference.high) == (1.0, 1.0, 3.0)


def test_draws_are_those_of_the_seed_whatever_the_block():
    generator = np.random.default_rng(7)
    expected = np.stack([np.bincount(generator.integers(5, size=5), minlength=5) for _ in range(8)])
    for block_bytes in (1, 100, 10**6):
        blocks = list(draws(5, 8, seed=7, block_bytes=block_bytes))
        assert_array_equal(np.concatenate([counts for _, counts in blocks]), expected)
        assert [index for block, _ in blocks for index in range(block.start, block.stop)] == list(range(8))


def test_bootstrap_equals_resampling_by_hand():
    generator = np.random.default_rng(0)
    n, resamples = 40, 25
    scores, selected, target = generator.integers(6, size=n), generator.random(n), generator.random(n)
    swept = sweep(scores, selected, target)
    resampled = bootstrap(
        {"area": swept.areas, "target": mean_of(target)}, n, resamples=resamples, seed=3, block_bytes=8 * n * 4
    )
    generator = np.random.default_rng(3)
    drawn = [generator.integers(n, size=n) for _ in range(resamples)]
    assert_allclose(resampled.values["area"], [sweep(scores[i], selected[i], target[i]).area for i in drawn])
    assert_allclose(resampled.values["target"], [target[i].mean() for i in drawn])
    assert resampled.estimates == {"area": pytest.approx(swept.area), "target": pytest.approx(target.mean())}


def test_a_mean_of_some_by_hand():
    counts = np.array([[1, 1, 1, 1], [2, 0, 1, 1], [4, 0, 0, 0]])
    statistic = mean_where([1.0, 2.0, 6.0, 100.0], np.array([False, True, True, False]))
    assert statistic(counts).tolist() == [4.0, 6.0, 0.0]


def test_a_paired_difference_is_narrower_than_its_parts():
    generator = np.random.default_rng(0)
    base = generator.random(500)
    resampled = bootstrap({"a": mean_of(base), "b": mean_of(base + 0.01)}, 500, resamples=200)
    difference = resampled.difference("b", "a")
    assert (difference.low, difference.high) == (pytest.approx(0.01), pytest.approx(0.01))
    assert resampled.interval("a").high - resampled.interval("a").low > 0.03


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(11)
    covered = 0
    for trial in range(300):
        sample = generator.exponential(size=200)
        interval = bootstrap({"mean": mean_of(sample)}, 200, resamples=300, seed=trial).interval("mean", 0.9)
        covered += interval.low <= 1 <= interval.high
    assert 0.84 < covered / 300 < 0.94
