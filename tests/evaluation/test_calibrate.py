from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.calibrate import (
    bound_risk,
    candidate_thresholds,
    disagreement_losses,
    for_budget,
    for_quality,
    for_rate,
    quality_losses,
)

TEN = np.arange(10) / 10


@pytest.mark.parametrize(("rate", "threshold", "reached"), [(0.3, 0.25, 0.3), (0.0, -inf, 0.0), (1.0, inf, 1.0)])
def test_for_rate_lies_midway(rate, threshold, reached):
    found = for_rate(TEN, rate)
    assert found.met
    assert found.point.threshold == pytest.approx(threshold)
    assert found.point.rate == pytest.approx(reached)
    assert isnan(found.point.quality)


def test_rate_between_two_examples_is_met():
    assert for_rate(TEN, 0.35).met


def test_rate_interval_is_that_of_3_in_10():
    assert for_rate(TEN, 0.3).rate_interval == (pytest.approx(0.0667, abs=1e-4), pytest.approx(0.6525, abs=1e-4))


def test_rate_that_ties_forbid():
    found = for_rate([1.0] * 9 + [0.5], 0.4)
    assert found.problem == (
        "No threshold defers 40.0%; the nearest defers 10.0%, because up to 9 of 10 examples have the same score."
    )
    assert found.point.threshold == 0.75


def test_rate_below_the_share_without_a_score():
    found = for_rate([None, None, 0.1, 0.2], 0.25)
    assert found.problem == (
        "No threshold defers 25.0%; the nearest defers 50.0%, because 50.0% of the examples have no score "
        "and are always deferred."
    )
    assert (found.point.threshold, found.point.rate) == (-inf, 0.5)


def test_noise_is_not_calibrated_on():
    assert for_rate([0.3, 0.1 + 0.2, 0.6, 0.9], 0.25).point.rate in (0.0, 0.5)


def test_for_budget_by_hand():
    # Members and scorer cost 1, the target 10: each tenth deferred costs 1 more.
    found = for_budget(TEN, np.full(10, 1.0), np.full(10, 10.0), budget=4.0)
    assert found.met
    assert (found.point.threshold, found.point.rate, found.point.x) == (pytest.approx(0.25), 0.3, pytest.approx(4.0))
    assert for_budget(TEN, np.full(10, 1.0), np.full(10, 10.0), budget=4.9).point.rate == 0.3


def test_an_ensemble_at_66_percent_can_never_reach_40():
    found = for_budget(TEN, np.full(10, 6.6), np.full(10, 10.0), budget=4.0)
    assert found.problem == (
        "The budget is 4 a request, but the least that a threshold can cost is 6.6: 66.0% of the target's 10, "
        "where 40.0% was asked for."
    )
    assert (found.point.threshold, found.point.x) == (-inf, pytest.approx(6.6))


def test_for_quality_takes_the_least_deferral():
    kept, target = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1]), np.ones(10)
    found = for_quality(TEN, kept, target, floor=0.8)
    assert (found.met, found.point.rate, found.point.quality) == (True, 0.2, 0.8)
    assert for_quality(TEN, kept, target, floor=1.0).point.rate == 0.4
    assert for_quality(TEN, 1 - kept, np.zeros(10), floor=0.9).problem == (
        "No threshold has a mean quality of 0.9; the best, 0.4, defers 0.0%."
    )


@given(st.lists(st.none() | st.floats(-10, 10), min_size=1, max_size=60), st.floats(0, 1))
def test_a_rate_that_is_met_is_near_and_real(scores, rate):
    found = for_rate(scores, rate)
    deferred = np.mean([s is None or s < found.point.threshold for s in scores])
    assert found.point.rate == pytest.approx(deferred)
    assert found.met == (abs(deferred - rate) <= max(0.02, 0.5 / len(scores)) + 1e-12)


def test_losses():
    assert_array_equal(quality_losses([1, 0.25, 0], [0.5, 1, 0]), [0, 0.75, 0])
    assert_allclose(disagreement_losses([1.0, 0.75, -0.5]), [0, 0.25, 1])
    with pytest.raises(DataError, match="'target' must be qualities between 0 and 1"):
        quality_losses([1], [61.2])


def test_candidates_are_strictest_first_and_without_the_trivial_one():
    assert_allclose(candidate_thresholds(np.arange(100.0), 4), [74.5, 49.5, 24.5, -inf])


def test_risk_bound_by_hand():
    # 100 examples, s = 0 ... 99. All answers below 50 are wrong: at threshold t = 50 - w, w of 100 lose 1.
    scores = np.arange(100.0)
    losses = (scores < 50).astype(float)
    found = bound_risk(scores, losses, [44.5, 90.0, 49.5, 46.5, 47.5, inf], alpha=0.1, delta=0.1, binary=True)
    # P(Bin(100, .1) <= k) is .0000 at 0, .0019 at 2, .0078 at 3 and .0576 at 5: all pass.
    assert [one.threshold for one in found.tested] == [90.0, 49.5, 47.5, 46.5, 44.5]
    assert_allclose([one.risk for one in found.tested], [0, 0, 0.02, 0.03, 0.05])
    assert [round(one.p_value, 4) for one in found.tested] == [0.0, 0.0, 0.0019, 0.0078, 0.0576]
    assert (found.threshold, found.met, found.needed, found.rate) == (44.5, True, None, pytest.approx(0.45))
    assert found.risk == pytest.approx(0.05)
    # Hoeffding-Bentkus needs more: at 5 of 100 its p-value is over .1, and testing stops there.
    loose = bound_risk(scores, losses, [90.0, 44.5, -inf], alpha=0.1, delta=0.1)
    assert (loose.threshold, [one.threshold for one in loose.tested]) == (90.0, [90.0, 44.5])
    assert loose.needed == 138  # log 10 / KL(.05 || .1) = 2.3026 / .01671
    assert loose.bounds == "quality_loss"


def test_testing_stops_at_the_first_failure():
    # The strictest candidate keeps ten wrong answers, so the others are not tried however good they look.
    scores = np.arange(1000.0)
    losses = (scores >= 990).astype(float)
    found = bound_risk(scores, losses, [980.0, 989.5], alpha=0.01, delta=0.1)
    assert len(found.tested) == 1
    assert (found.threshold, found.met, found.rate, found.risk) == (inf, False, 1.0, 0.0)
    assert found.needed is None
    assert "which more examples would hardly change" in found.problem


def test_too_few_examples_say_how_many_would_do():
    found = bound_risk(TEN, np.zeros(10), [0.5], alpha=0.05, delta=0.1)
    assert found.needed == 45
    assert found.problem == (
        "10 examples cannot show that the expected loss is at most 0.05 with probability 0.9: already the strictest "
        "threshold, 0.5, has a mean loss of 0.0000 (p = 0.599). 45 examples with that mean loss would do."
    )
    assert bound_risk(np.arange(45), np.zeros(45), [0.5], alpha=0.05, delta=0.1).met


def test_deferred_and_unscored_requests_lose_nothing():
    scores = [None] * 50 + [0.2] * 30 + [0.9] * 20
    found = bound_risk(scores, np.ones(100), [0.5, -inf], alpha=0.4, delta=0.1, bounds="disagreement")
    assert [one.risk for one in found.tested] == [pytest.approx(0.2), pytest.approx(0.5)]
    assert (found.threshold, found.rate, found.bounds) == (0.5, pytest.approx(0.8), "disagreement")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"alpha": 0}, ConfigError, "'alpha' must be above 0 and below 1, not 0"),
        ({"delta": 1.0}, ConfigError, "'delta'"),
        ({"candidates": [inf]}, ConfigError, "'candidates'"),
        ({"losses": [0, 2]}, DataError, "between 0 and 1"),
        ({"losses": [0, 0.5], "binary": True}, DataError, "0 or 1"),
        ({"losses": [0]}, DataError, "one number for each example"),
    ],
)
def test_what_cannot_be_bounded(change, error, message):
    arguments = {"scores": [1, 2], "losses": [0, 0], "candidates": [0.5], "alpha": 0.1, "delta": 0.1} | change
    with pytest.raises(error, match=message):
        bound_risk(**arguments)


ALPHA, DELTA, TRIALS = 0.1, 0.1, 1000


def share_broken(draw_losses, binary, examples):
    """How often the threshold of a calibration has a true risk of alpha or more.

    s is uniform and the loss has mean .25 whatever s is, so the risk at t is .25 (1 - t): exactly alpha at t = .6,
    one of the candidates. Returning it counts as broken, which asks a little more than "at most alpha".
    """
    generator = np.random.default_rng(20260)
    candidates = np.arange(1, 100) / 100
    assert 0.6 in candidates
    broken = 0
    for _ in range(TRIALS):
        scores = generator.random(examples)
        found = bound_risk(
            scores, draw_losses(generator, examples), candidates, alpha=ALPHA, delta=DELTA, binary=binary
        )
        broken += found.threshold <= 0.6
    return broken / TRIALS


@pytest.mark.parametrize("examples", [100, 1000])
@pytest.mark.parametrize(
    ("binary", "draw_losses"),
    [
        pytest.param(True, lambda g, n: (g.random(n) < 0.25).astype(float), id="0/1, exact"),
        pytest.param(False, lambda g, n: (g.random(n) < 0.25).astype(float), id="0/1, Hoeffding-Bentkus"),
        pytest.param(False, lambda g, n: g.beta(0.5, 1.5, n), id="graded"),
    ],
)
def test_coverage_of_the_risk_bound(examples, binary, draw_losses):
    share = share_broken(draw_losses, binary, examples)
    assert share <= DELTA + 3 * (DELTA * (1 - DELTA) / TRIALS) ** 0.5
    if binary:
        assert share > DELTA / 4  # the exact test gives little away, so the simulation can see a bound that is too lax


def test_the_plain_mean_would_break_the_bound():
    """The same simulation without the test: the most lenient threshold whose mean loss is at most alpha."""
    generator = np.random.default_rng(20260)
    candidates = np.arange(1, 100) / 100
    broken = 0
    for _ in range(200):
        scores, losses = generator.random(1000), generator.random(1000) < 0.25
        risks = np.array([(losses * (scores >= t)).mean() for t in candidates])
        broken += candidates[risks <= ALPHA].min() <= 0.6
    assert broken / 200 > 0.4
