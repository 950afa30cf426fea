from math import inf

import numpy as np
import pytest

from serve_app.errors import ConfigError
from serve_app.evaluation.statistics.margin import cheapest_within_margin
from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier
from tests.evaluation.statistics.test_search import halves, simulated


def test_cheapest_within_margin_defers_what_is_wrong():
    aware, blind, target = simulated()
    parts = halves(2000)
    choice = cheapest_within_margin(aware, target, 0.02, parts, resamples=400)
    # The tier is right on 60% and knows it: deferring the other 40% would even beat the target.
    assert choice.chosen.deferred < 0.4
    assert choice.chosen_difference.low >= -0.02 - 1e-12
    assert choice.chosen_difference.estimate == pytest.approx(choice.chosen.quality - target.quality[parts[0]].mean())
    assert choice.difference.estimate == pytest.approx(choice.held_out.quality - target.quality[parts[1]].mean())
    assert choice.accepted == round(1000 * (1 - choice.held_out.deferred))
    assert choice.verdict == ("holds" if choice.p_value <= 0.05 else "not shown")
    unaware = cheapest_within_margin(blind, target, 0.02, parts, resamples=400)
    assert unaware.chosen.deferred > 0.9


def test_no_margin_and_no_skill_defers_everything():
    _, blind, target = simulated(400)
    choice = cheapest_within_margin(blind, target, 0.0, halves(400), resamples=200)
    assert (choice.threshold, choice.difference.low, choice.difference.high, choice.accepted) == (inf, 0, 0, 0)
    assert (choice.verdict, choice.p_value) == ("target alone", 1.0)  # for deferring all pays for both


def alike(n, selected, accepted, cost=1.0):
    """Return a tier that is sure of the first `accepted` of n and has that quality, and a target of quality 1."""
    sure = np.arange(n) < accepted
    tier = RecordedTier(np.where(sure, 1.0, 0.0), np.where(sure, selected, 0.0), np.full(n, cost))
    return tier, RecordedTarget(np.ones(n), np.full(n, 10.0)), (np.arange(0, n, 2), np.arange(1, n, 2))


@pytest.mark.parametrize(
    ("n", "selected", "accepted", "cost", "verdict"),
    [
        # Without any difference the capital grows by at most 1 + .95 / .9 * .1 = 1.1056 each time, and at first by
        # 1 + .1 * sqrt(2 log(20) / (31 * .25)): more than 1 / .05 after 31 examples, not yet after 30.
        (62, 1.0, 62, 0.5, "holds"),
        (60, 1.0, 60, 0.5, "not shown"),
        (400, 1.0, 40, 0.5, "holds"),
        (400, 1.0, 38, 0.5, "too few accepted"),  # 19 of them in the held-out half
        (62, 1.0, 62, 10.0, "target alone"),
        (62, 0.8, 62, 0.5, "target alone"),  # no threshold is within the margin, so all are deferred
    ],
)
def test_what_is_said_of_the_cheapest(n, selected, accepted, cost, verdict):
    tier, target, parts = alike(n, selected, accepted, cost)
    choice = cheapest_within_margin(tier, target, 0.1, parts, resamples=200)
    assert choice.verdict == verdict


def test_a_lucky_threshold_beyond_a_bad_one_is_not_taken():
    # Deferring nothing is as good as the target, but on the way there the surest answers are all wrong.
    n = 400
    scores = np.arange(n) / n
    selected, target = np.where(scores < 0.5, 1.0, 0.0), np.where(scores < 0.5, 0.0, 1.0)
    recorded = RecordedTarget(target, np.full(n, 10.0))
    tier = RecordedTier(scores, selected, np.full(n, 1.0))
    assert cheapest_within_margin(tier, recorded, 0.2, halves(n), resamples=200).chosen.deferred > 0.7


def test_a_negative_margin_is_refused():
    aware, _, target = simulated(10)
    for margin in (-0.1, 1.0):
        with pytest.raises(ConfigError, match="'margin' must be from 0 to below 1"):
            cheapest_within_margin(aware, target, margin, halves(10))


def claims(fit, test, margin, wrong, trials):
    """Return how often it "holds", how often falsely, and the false share of the claims by the bootstrap's interval.

    The target is always right, the tier wrong with that probability whatever its score, so at t the quality is
    wrong * (1 - t) below the target's.
    """
    generator = np.random.default_rng(20263)
    n, holds, false, lucky, by_bootstrap = fit + test, 0, 0, 0, 0
    for trial in range(trials):
        tier = RecordedTier(generator.random(n), (generator.random(n) >= wrong).astype(float), np.full(n, 0.1))
        target = RecordedTarget(np.ones(n), np.full(n, 10.0))
        parts = np.arange(fit), np.arange(fit, n)
        choice = cheapest_within_margin(tier, target, margin, parts, resamples=100, seed=trial)
        outside = wrong * (1 - np.clip(choice.threshold, 0, 1)) >= margin
        holds += choice.verdict == "holds"
        false += choice.verdict == "holds" and outside
        by_bootstrap += choice.difference.low >= -margin
        lucky += choice.difference.low >= -margin and outside
    return holds / trials, false / trials, lucky / max(1, by_bootstrap)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fit", "test", "margin", "wrong"), [(30, 60, 0.01, 0.05), (100, 200, 0.02, 0.03), (300, 600, 0.05, 0.07)]
)
def test_what_is_outside_of_the_margin_is_said_to_hold_no_more_often_than_in_5_percent(fit, test, margin, wrong):
    _, false, _ = claims(fit, test, margin, wrong, 300)
    assert false <= 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5


@pytest.mark.slow
def test_what_the_bootstrap_would_claim_of_few_examples_is_often_false():
    assert claims(30, 60, 0.01, 0.05, 300)[2] > 0.4


@pytest.mark.slow
def test_with_enough_examples_what_is_well_within_the_margin_holds():
    assert claims(300, 600, 0.05, 0.01, 100)[0] > 0.8
