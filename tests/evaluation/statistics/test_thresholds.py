from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier, answered_by, run
from serve_app.evaluation.statistics.thresholds import best_for_budget, for_budget, for_quality, for_rates

TEN = np.arange(10) / 10


@pytest.mark.parametrize(("rate", "threshold", "reached"), [(0.3, 0.25, 0.3), (0.0, -inf, 0.0), (1.0, inf, 1.0)])
def test_for_rate_lies_midway(rate, threshold, reached):
    calibration = for_rates([TEN], [rate])
    assert calibration.met
    assert calibration.setting.thresholds[0] == pytest.approx(threshold)
    assert calibration.setting.deferred == pytest.approx(reached)
    assert isnan(calibration.setting.quality)


def test_rate_between_two_examples_is_met():
    assert for_rates([TEN], [0.35]).met


def test_rate_interval_is_that_of_3_in_10():
    assert for_rates([TEN], [0.3]).rate_interval == (pytest.approx(0.0667, abs=1e-4), pytest.approx(0.6525, abs=1e-4))


def test_rate_that_ties_forbid():
    calibration = for_rates([[1.0] * 9 + [0.5]], [0.4])
    assert calibration.problem == (
        "No threshold defers 40.0%; the nearest defers 10.0%, because up to 9 of 10 examples have the same score."
    )
    assert calibration.setting.thresholds[0] == 0.75


def test_rate_below_the_share_without_a_score():
    calibration = for_rates([[None, None, 0.1, 0.2]], [0.25])
    assert calibration.problem == (
        "No threshold defers 25.0%; the nearest defers 50.0%, because 50.0% of the examples have no score "
        "and are always deferred."
    )
    assert (calibration.setting.thresholds[0], calibration.setting.deferred) == (-inf, 0.5)


def test_noise_is_not_calibrated_on():
    assert for_rates([[0.3, 0.1 + 0.2, 0.6, 0.9]], [0.25]).setting.deferred in (0.0, 0.5)


def test_for_budget_by_hand():
    # Members and scorer cost 1, the target 10: each tenth deferred costs 1 more.
    calibration = for_budget([TEN], [np.full(10, 1.0), np.full(10, 10.0)], budget=4.0)
    assert calibration.met
    assert (calibration.setting.thresholds[0], calibration.setting.deferred, calibration.setting.cost) == (
        pytest.approx(0.25),
        0.3,
        pytest.approx(4.0),
    )
    assert for_budget([TEN], [np.full(10, 1.0), np.full(10, 10.0)], budget=4.9).setting.deferred == 0.3


def test_an_ensemble_at_66_percent_can_never_reach_40():
    calibration = for_budget([TEN], [np.full(10, 6.6), np.full(10, 10.0)], budget=4.0)
    assert calibration.problem == (
        "The budget is 4 a request, but the least that a threshold can cost is 6.6: 66.0% of the target's 10, "
        "but the goal is 40.0%."
    )
    assert (calibration.setting.thresholds[0], calibration.setting.cost) == (-inf, pytest.approx(6.6))


def test_for_quality_takes_the_least_deferral():
    selected, target = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1]), np.ones(10)

    def calibration(selected, target, floor):
        # Each deferral costs 1, so the cheapest defers least.
        return for_quality([RecordedTier(TEN, selected, np.zeros(10))], RecordedTarget(target, np.ones(10)), floor)

    least = calibration(selected, target, 0.8)
    assert (least.met, least.setting.deferred, least.setting.quality) == (True, 0.2, 0.8)
    assert calibration(selected, target, 1.0).setting.deferred == 0.4
    assert calibration(1 - selected, np.zeros(10), 0.9).problem == (
        "No threshold has a mean quality of 0.9; the best, 0.4, defers 0.0%."
    )


@given(st.lists(st.none() | st.floats(-10, 10), min_size=1, max_size=60), st.floats(0, 1))
def test_a_rate_that_is_met_is_near_and_real(scores, rate):
    calibration = for_rates([scores], [rate])
    deferred = np.mean([s is None or s < calibration.setting.thresholds[0] for s in scores])
    assert calibration.setting.deferred == pytest.approx(deferred)
    assert calibration.met == (abs(deferred - rate) <= max(0.02, 0.5 / len(scores)) + 1e-12)


def test_rates_of_two_tiers_by_hand():
    # Tier 1 passes on 0 ... 4; their scores at tier 2 are .9 ... .5, of which the last two pass on: shares of all ten.
    calibration = for_rates([TEN, 0.9 - TEN], [0.5, 0.2])
    assert calibration.met
    assert calibration.setting.thresholds == (pytest.approx(0.45), pytest.approx(0.65))
    assert answered_by([TEN, 0.9 - TEN], calibration.setting.thresholds).tolist() == [1, 1, 1, 2, 2, 0, 0, 0, 0, 0]
    assert calibration.setting.deferred == 0.5


def test_rates_where_nobody_arrives():
    assert for_rates([TEN, TEN], [0.0, 0.0]).setting.thresholds == (-inf, -inf)


def test_a_rate_that_the_second_tiers_ties_forbid():
    calibration = for_rates([TEN, np.ones(10)], [0.5, 0.2])
    assert calibration.problem == (
        "Tier 2: No threshold defers 20.0%; the nearest defers 0.0%, because up to 5 of 10 examples have the same "
        "score."
    )


FIRST = RecordedTier(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 0, 1, 1]), np.full(4, 1.0))
SECOND = RecordedTier(np.array([0.1, 0.3, 0.2, 0.4]), np.array([0.0, 1, 1, 1]), np.full(4, 2.0))
TARGET = RecordedTarget(np.ones(4), np.full(4, 10.0))
SCORES, COSTS = [FIRST.scores, np.array([0.4, 0.3, 0.2, 0.1])], [FIRST.cost, SECOND.cost, TARGET.cost]


@pytest.mark.parametrize(
    ("budget", "threshold", "cost"),
    [
        (1.4, -inf, 1),
        (1.5, 0.15, 1 + 2 / 4),  # the first passes on to tier 2, which keeps it
        (7.4, 0.25, 1 + 2 * 2 / 4),
        (7.5, 0.35, 1 + 3 * 2 / 4 + 2 * 10 / 4),  # three pass on, two of them to the target
        (13, inf, 13),
    ],
)
def test_a_budget_without_labels_by_hand(budget, threshold, cost):
    calibration = for_budget(SCORES, COSTS, budget)
    assert calibration.setting.thresholds == (pytest.approx(threshold), pytest.approx(threshold))
    assert calibration.setting.cost == pytest.approx(cost)


def test_a_budget_below_what_two_tiers_can_cost():
    sentence = (
        "The budget is 0.5 a request, but the least that thresholds can cost is 1: 10.0% of the target's 10, "
        "but the goal is 5.0%."
    )
    assert for_budget(SCORES, COSTS, 0.5).problem == sentence
    calibration = best_for_budget([FIRST, SECOND], TARGET, 0.5)
    assert (calibration.problem, calibration.setting.thresholds) == (sentence, (-inf, -inf))


def test_the_best_for_a_budget_by_hand():
    # Tier 1 is wrong of the first two, tier 2 of the first alone, and both know it.
    calibration = best_for_budget([FIRST, SECOND], TARGET, 2.0)
    assert (calibration.setting.thresholds, calibration.setting.quality) == ((pytest.approx(0.25), -inf), 0.75)
    calibration = best_for_budget([FIRST, SECOND], TARGET, 100.0)
    assert calibration.setting.thresholds == (pytest.approx(0.25), pytest.approx(0.15))
    assert (calibration.setting.cost, calibration.setting.quality, calibration.setting.deferred) == (
        1 + 2 * 2 / 4 + 10 / 4,
        1.0,
        0.5,
    )


def test_the_cheapest_of_a_quality_by_hand():
    assert for_quality([FIRST, SECOND], TARGET, 0.75).setting.thresholds == (pytest.approx(0.25), -inf)
    assert for_quality([FIRST, SECOND], TARGET, 0.76).setting.cost == 4.5
    assert for_quality([FIRST, SECOND], TARGET, 1.1).problem == (
        "No thresholds have a mean quality of 1.1; the best, 1, defers 50.0% at the first tier."
    )


numbers = st.integers(0, 8)
one_tier_examples = st.lists(
    st.tuples(st.none() | numbers, numbers, numbers, numbers, numbers), min_size=1, max_size=12
)


@given(one_tier_examples, st.integers(0, 20))
def test_of_one_tier_a_budget_takes_the_strictest_threshold_that_it_allows(examples, budget):
    scores, tier_cost, target_cost, *_ = (np.array(values, dtype=float) for values in zip(*examples, strict=True))
    thresholds = [-inf, *(np.unique(scores[~np.isnan(scores)])[1:] - 0.5), inf]
    if np.isnan(scores).all():
        thresholds = [inf]
    costs = [(tier_cost + np.where(scores >= t, 0, target_cost)).mean() for t in thresholds]
    allowed = [t for t, cost in zip(thresholds, costs, strict=True) if cost <= budget + 1e-9]
    calibration = for_budget([scores], [tier_cost, target_cost], budget)
    assert calibration.met == bool(allowed)
    # Midway between integers that need not be neighbours: compared by what is kept.
    expected = allowed[-1] if allowed else thresholds[0]
    assert ((scores >= calibration.setting.thresholds[0]) == (scores >= expected)).all()


@given(one_tier_examples, st.integers(0, 8))
def test_of_one_tier_a_quality_takes_the_most_lenient_threshold_that_has_it(examples, floor):
    scores, selected, target, *_ = (np.array(values, dtype=float) for values in zip(*examples, strict=True))
    thresholds = [-inf, *(np.unique(scores[~np.isnan(scores)])[1:] - 0.5), inf]
    if np.isnan(scores).all():
        thresholds = [inf]
    qualities = [np.where(scores >= t, selected, target).mean() for t in thresholds]
    enough = [t for t, quality in zip(thresholds, qualities, strict=True) if quality >= floor - 1e-9]
    n = len(scores)
    calibration = for_quality([RecordedTier(scores, selected, np.zeros(n))], RecordedTarget(target, np.ones(n)), floor)
    assert calibration.met == bool(enough)
    if enough:
        assert ((scores >= calibration.setting.thresholds[0]) == (scores >= enough[0])).all()


@given(st.integers(0, 10_000), st.integers(1, 40), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_without_ties_every_tier_passes_on_its_share(seed, examples, rates):
    generator = np.random.default_rng(seed)
    scores = [generator.permutation(examples) / examples for _ in rates]
    rates = sorted(rates, reverse=True)
    calibration = for_rates(scores, rates)
    by = answered_by(scores, calibration.setting.thresholds)
    shares = [(by > number).mean() for number in range(len(rates))]
    assert calibration.met
    assert np.abs(np.array(shares) - rates).max() <= 0.5 / examples + 1e-12


@given(st.integers(0, 10_000))
def test_what_a_front_says_of_its_thresholds_is_what_they_do(seed):
    generator = np.random.default_rng(seed)
    tiers = [
        RecordedTier(generator.integers(4, size=12) / 4, generator.random(12), np.full(12, 1.0 + k)) for k in range(3)
    ]
    target = RecordedTarget(generator.random(12), np.full(12, 10.0))
    for calibration in (best_for_budget(tiers, target, 6.0), for_quality(tiers, target, 0.5)):
        again = run(tiers, target, calibration.setting.thresholds)
        assert (calibration.setting.cost, calibration.setting.quality) == (
            pytest.approx(again.cost),
            pytest.approx(again.quality),
        )
        assert calibration.setting.deferred == pytest.approx(again.deferred)
