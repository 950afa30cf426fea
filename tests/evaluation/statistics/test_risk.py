from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from serve_app.errors import ConfigError, DataError
from serve_app.evaluation.statistics.pareto import answered_by
from serve_app.evaluation.statistics.risk import (
    all_thresholds,
    bound_risk,
    candidate_path,
    disagreement_losses,
    from_best,
    quality_differences,
    quality_losses,
)

TEN = np.arange(10) / 10


def one_tier(scores, losses, candidates, **options):
    return bound_risk([scores], [losses], np.array(candidates)[:, np.newaxis], **options)


def test_losses():
    assert_array_equal(quality_losses([1, 0.25, 0], [0.5, 1, 0]), [0, 0.75, 0])
    assert_array_equal(quality_differences([1, 0.25, 0], [0.5, 1, 0]), [-0.5, 0.75, 0])
    assert_allclose(disagreement_losses([1.0, 0.75, -0.5]), [0, 0.25, 1])
    with pytest.raises(DataError, match="'target' must be qualities between 0 and 1"):
        quality_losses([1], [61.2])


def test_candidates_are_strictest_first_and_without_the_trivial_one():
    assert_allclose(candidate_path([np.arange(100.0)], 4), [[74.5], [49.5], [24.5], [-inf]])
    assert candidate_path([np.full(3, nan)]).shape == (0, 1)
    assert_array_equal(all_thresholds(np.array([0.5, 0.0, nan, 0.5, 1.0])), [[0.75], [0.25], [-inf]])


def test_risk_bound_by_hand():
    # 100 examples, s = 0 ... 99. All answers below 50 are wrong: at threshold t = 50 - w, w of 100 lose 1.
    scores = np.arange(100.0)
    losses = (scores < 50).astype(float)
    bound = one_tier(scores, losses, [90.0, 49.5, 47.5, 46.5, 44.5], alpha=0.1, delta=0.1, binary=True)
    # P(Bin(100, .1) <= k) is .0000 at 0, .0019 at 2, .0078 at 3 and .0576 at 5: all pass.
    assert [candidate.thresholds for candidate in bound.tested] == [(90.0,), (49.5,), (47.5,), (46.5,), (44.5,)]
    assert_allclose([candidate.risk for candidate in bound.tested], [0, 0, 0.02, 0.03, 0.05])
    assert [round(candidate.p_value, 4) for candidate in bound.tested] == [0.0, 0.0, 0.0019, 0.0078, 0.0576]
    assert (bound.thresholds, bound.met, bound.needed, bound.rate) == ((44.5,), True, None, pytest.approx(0.45))
    assert bound.risk == pytest.approx(0.05)
    # At 7 of 100 betting fails, and testing stops there.
    spread = np.arange(100) * 37 % 100
    loose = one_tier(scores[spread], losses[spread], [90.0, 42.5, -inf], alpha=0.1, delta=0.1)
    assert (loose.thresholds, [candidate.thresholds for candidate in loose.tested]) == ((90.0,), [(90.0,), (42.5,)])
    assert loose.needed == 417  # log 10 / KL(.07 || .1) = 2.3026 / .005528
    assert loose.bounds == "quality_loss"


def test_testing_stops_at_the_first_failure():
    # The strictest candidate keeps ten wrong answers, so the others are not tried however good they look.
    scores = np.random.default_rng(0).permutation(1000)
    losses = (scores >= 990).astype(float)
    bound = one_tier(scores, losses, [989.5, 980.0], alpha=0.01, delta=0.1)
    assert len(bound.tested) == 1
    assert (bound.thresholds, bound.met, bound.rate, bound.risk) == ((inf,), False, 1.0, 0.0)
    assert bound.needed is None
    assert "which more examples would hardly change" in bound.problem


def test_too_few_examples_say_how_many_would_do():
    bound = one_tier(TEN, np.zeros(10), [0.5], alpha=0.05, delta=0.1)
    assert bound.needed == 48
    assert bound.problem == (  # 1.05 ** -10 = .614
        "10 examples to calibrate on cannot show that the expected loss is at most 0.05 with probability 0.9: already "
        "the strictest threshold, 0.5, has a mean loss of 0.0000 (p = 0.614). About 48 such examples would do."
    )
    assert one_tier(np.arange(48), np.zeros(48), [0.5], alpha=0.05, delta=0.1).met


def test_deferred_and_unscored_requests_lose_nothing():
    scores = np.array([None] * 50 + [0.2] * 30 + [0.9] * 20)[np.random.default_rng(0).permutation(100)]
    bound = one_tier(scores, np.ones(100), [0.5, -inf], alpha=0.4, delta=0.1, bounds="disagreement")
    assert [candidate.risk for candidate in bound.tested] == [pytest.approx(0.2), pytest.approx(0.5)]
    assert (bound.thresholds, bound.rate, bound.bounds) == ((0.5,), pytest.approx(0.8), "disagreement")


def test_risk_bound_of_two_tiers_by_hand():
    # Tier 1 is wrong below 50, tier 2 always, and its scores are two higher: so at (t, t) it keeps two wrong answers.
    scores = np.arange(100.0)
    losses = [(scores < 50).astype(float), np.ones(100)]
    path = np.array([[t, t] for t in (49.5, 47.5, 46.5, 44.5)])
    bound = bound_risk([scores, scores + 2], losses, path, alpha=0.1, delta=0.1, binary=True)
    # P(Bin(100, .1) <= k) is .0019 at 2, .0237 at 4, .0576 at 5 and .2061 at 7, where testing stops.
    assert_allclose([candidate.risk for candidate in bound.tested], [0.02, 0.04, 0.05, 0.07])
    assert [round(candidate.p_value, 4) for candidate in bound.tested] == [0.0019, 0.0237, 0.0576, 0.2061]
    assert (bound.thresholds, bound.risk, bound.rate) == ((46.5, 46.5), 0.05, 0.47)


def test_a_quality_from_below_by_hand():
    # The target errs below 10, the tier below 50: at threshold t = 50 - w, 10 + w of 100 answers are wrong.
    scores = np.arange(100.0)
    target, errors = (scores < 10).astype(float), (scores < 50).astype(float)
    candidates = [inf, 49.5, 45.5, 44.5]
    options = {"delta": 0.1, "binary": True, "bounds": "error", "target_losses": target}
    bound = one_tier(scores, errors, candidates, alpha=0.2, **options)
    # P(Bin(100, .2) <= k) is .0057 at 10, .0804 at 14 and .1285 at 15, where testing stops.
    assert [round(candidate.p_value, 4) for candidate in bound.tested] == [0.0057, 0.0057, 0.0804, 0.1285]
    assert (bound.thresholds, bound.risk, bound.rate) == ((45.5,), 0.14, 0.46)
    missed = one_tier(scores, errors, candidates, alpha=0.11, **options)  # log 10 / KL(.1 || .11) = 4386.2
    assert (missed.thresholds, missed.risk, missed.rate, missed.met) == ((inf,), 0.1, 1.0, False)
    assert missed.problem == (
        "100 examples to calibrate on cannot show that the mean quality is at least 0.89 with probability 0.9: already "
        "the best threshold, inf, has a mean quality of 0.9000 (p = 0.453). About 4387 such examples would do."
    )


def test_gains_make_up_for_losses_where_the_difference_is_signed():
    # All answers differ from the target's by .2, one half for the better: the difference is 0, the positive part .1.
    generator = np.random.default_rng(0)
    target = np.full(400, 0.5)
    selected = target + generator.permutation(np.repeat([-0.2, 0.2], 200))
    scores = np.ones(400)
    signed = one_tier(scores, quality_differences(selected, target), [0.5], alpha=0.05, delta=0.1)
    assert (signed.met, signed.risk) == (True, pytest.approx(0, abs=1e-12))
    positive = one_tier(scores, quality_losses(selected, target), [0.5], alpha=0.05, delta=0.1)
    assert (positive.met, positive.tested[0].risk) == (False, pytest.approx(0.1))


def test_a_floor_is_tested_from_the_best_candidate_on():
    # Right are the tier on its two surest, the target on the two others: keeping the surest two is best.
    scores = [np.array([0.1, 0.2, 0.8, 0.9])]
    path = candidate_path(scores, defer_all=True)
    assert_allclose(path, [[inf], [0.85], [0.5], [0.15], [-inf]])
    losses, target = np.array([1.0, 1, 0, 0]), np.array([0.0, 0, 1, 1])
    assert_allclose(from_best(scores, [losses], target, path), [[0.5], [0.15], [-inf]])
    assert_allclose(from_best(scores, [np.ones(4)], target, path), path)


def test_two_tiers_that_too_few_examples_cannot_bound():
    bound = bound_risk([TEN, TEN], np.zeros((2, 10)), np.array([[0.5, 0.25]]), alpha=0.05, delta=0.1)
    assert bound.thresholds == (inf, inf)
    assert "already the strictest thresholds, 0.5, 0.25, have a mean loss of 0.0000" in bound.problem


@given(st.integers(0, 10_000))
def test_losses_along_a_path_are_those_of_the_answers_kept(seed):
    generator = np.random.default_rng(seed)
    scores = [np.where(generator.random(20) < 0.1, nan, generator.integers(5, size=20)) for _ in range(3)]
    losses = generator.random((3, 20))
    bound = bound_risk(scores, losses, candidate_path(scores), alpha=0.5, delta=0.999)
    for candidate in bound.tested:
        by = answered_by(scores, candidate.thresholds)
        lost = [losses[tier, k] if tier < 3 else 0 for k, tier in enumerate(by)]
        assert candidate.risk == pytest.approx(np.mean(lost))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"alpha": 0}, ConfigError, "'alpha' must be above 0 and below 1, not 0"),
        ({"delta": 1.0}, ConfigError, "'delta'"),
        ({"candidates": [nan]}, ConfigError, "'candidates' must be at least one vector of thresholds, and none NaN"),
        ({"candidates": [0.5, 0.6]}, ConfigError, "'candidates' must be strictest first"),
        ({"losses": [0, 2]}, DataError, "between -1 and 1"),
        ({"losses": [0, -2]}, DataError, "between -1 and 1"),
        ({"target_losses": [0]}, DataError, "'target_losses' must have shape"),
        ({"losses": [0, 0.5], "binary": True}, DataError, "0 or 1"),
        ({"losses": [0]}, DataError, "one number for each example"),
    ],
)
def test_what_cannot_be_bounded(change, error, message):
    arguments = {"scores": [1, 2], "losses": [0, 0], "candidates": [0.5], "alpha": 0.1, "delta": 0.1} | change
    with pytest.raises(error, match=message):
        one_tier(**arguments)


ALPHA, DELTA, TRIALS = 0.1, 0.1, 400


@pytest.mark.parametrize("examples", [100, 500])
def test_coverage_of_the_exact_risk_bound(examples):
    """How often the threshold of a calibration has a true risk of alpha or more.

    s is uniform and the loss has mean .25 whatever s is, so the risk at t is .25 (1 - t): exactly alpha at t = .6,
    one of the candidates. Returning it counts as broken, which asks a little more than "at most alpha".
    """
    generator = np.random.default_rng(20260)
    candidates = np.arange(99, 0, -1) / 100
    assert 0.6 in candidates
    broken = 0
    for _ in range(TRIALS):
        scores, losses = generator.random(examples), (generator.random(examples) < 0.25).astype(float)
        bound = one_tier(scores, losses, candidates, alpha=ALPHA, delta=DELTA, binary=True)
        broken += bound.thresholds[0] <= 0.6
    # The exact test gives little away, so the simulation can see a bound that is too lax.
    assert DELTA / 4 < broken / TRIALS <= DELTA + 3 * (DELTA * (1 - DELTA) / TRIALS) ** 0.5


def test_the_plain_mean_would_break_the_bound():
    """The same simulation without the test: the most lenient threshold whose mean loss is at most alpha."""
    generator = np.random.default_rng(20260)
    candidates = np.arange(99, 0, -1) / 100
    broken = 0
    for _ in range(200):
        scores, losses = generator.random(1000), generator.random(1000) < 0.25
        risks = np.array([(losses * (scores >= t)).mean() for t in candidates])
        broken += candidates[risks <= ALPHA].min() <= 0.6
    assert broken / 200 > 0.4


def two_tiers(generator, examples):
    """Return uniform scores, and losses of mean .1 and .25 whatever the scores are."""
    return generator.random((2, examples)), (generator.random((2, examples)).T < (0.1, 0.25)).T.astype(float)


@pytest.mark.parametrize("drawn", [False, True])
def test_coverage_of_the_risk_bound_of_two_tiers(drawn):
    """The risk at (t, u) is .1 (1 - t) + .25 t (1 - u): alpha at (.6, .6), more below, and at (0, 0) alpha again.

    `drawn`: the path comes from other examples, as `cascade calibrate` has it.
    """
    generator = np.random.default_rng(20260)
    fixed = np.repeat(np.arange(99, 0, -1)[:, np.newaxis] / 100, 2, axis=1)
    broken = 0
    for _ in range(TRIALS):
        path = candidate_path(list(generator.random((2, 50)))) if drawn else fixed
        bound = bound_risk(*two_tiers(generator, 400), path, alpha=ALPHA, delta=DELTA, binary=True)
        first, second = np.clip(bound.thresholds, 0, 1)
        broken += 0.1 * (1 - first) + 0.25 * first * (1 - second) >= ALPHA - 1e-12
    share = broken / TRIALS
    assert share <= DELTA + 3 * (DELTA * (1 - DELTA) / TRIALS) ** 0.5
    assert drawn or share > DELTA / 4


def chrf_like(generator, scores):
    """Draw losses as of chrF: many small ones, larger if less sure. The surest share k has .05 (k / .6) ** 1.27."""
    mean = 0.05 / 0.6 * 1.27 * ((1 - scores) / 0.6) ** 0.27
    return generator.beta(1, 1 / mean - 1)


def share_of(share, draw):
    """Return losses that are `draw(generator, n)` in this share of cases, else 0, whatever the score is."""
    return lambda generator, scores: np.where(generator.random(len(scores)) < share, draw(generator, len(scores)), 0.0)


ONES = lambda generator, n: np.ones(n)  # noqa: E731
POPULATIONS = {
    "0/1, rare": (share_of(0.02, ONES), lambda share: 0.02 * share),
    "0/1, common": (share_of(0.5, ONES), lambda share: 0.5 * share),
    "0/1, not said": (share_of(0.25, ONES), lambda share: 0.25 * share),
    "beta, u-shaped": (share_of(1, lambda g, n: g.beta(0.5, 1.5, n)), lambda share: 0.25 * share),
    "beta, bell-shaped": (share_of(1, lambda g, n: g.beta(5, 15, n)), lambda share: 0.25 * share),
    "two points": (share_of(0.5, lambda g, n: np.full(n, 0.3)), lambda share: 0.15 * share),
    "heavy at 0": (share_of(0.1, lambda g, n: g.random(n)), lambda share: 0.05 * share),
    "F1-like": (share_of(0.3, lambda g, n: np.where(g.random(n) < 0.6, 1.0, g.random(n))), lambda share: 0.24 * share),
    "chrF-like": (chrf_like, lambda share: 0.05 * (share / 0.6) ** 1.27),
}


@pytest.mark.slow
@pytest.mark.parametrize("examples", [30, 100, 200, 400])
@pytest.mark.parametrize("name", POPULATIONS)
def test_coverage_of_the_risk_bound_over_all_thresholds_of_the_examples(name, examples):
    """The expected loss exceeds alpha in at most delta of 200 calibrations, give or take three standard errors.

    Alpha is the expected loss of keeping the surest 60%.
    """
    draw, risk = POPULATIONS[name]
    generator, trials, broken = np.random.default_rng(20261), 200, 0
    for _ in range(trials):
        scores = generator.random(examples)
        bound = bound_risk(
            [scores],
            [draw(generator, scores)],
            all_thresholds(scores),
            alpha=risk(0.6),
            delta=DELTA,
            binary=name in ("0/1, rare", "0/1, common"),
        )
        broken += risk(1 - np.clip(bound.thresholds[0], 0, 1)) > risk(0.6)
    assert broken / trials <= DELTA + 3 * (DELTA * (1 - DELTA) / trials) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("examples", "deferred"), [(100, 0.71), (200, 0.55), (400, 0.48), (1000, 0.44)])
def test_what_losses_like_chrf_need_to_defer(examples, deferred):
    """An expected loss of .05 allows to defer 40%. Hoeffding-Bentkus deferred .82, .70, .60 and .52 of these."""
    generator, rates = np.random.default_rng(20261), []
    for _ in range(20):
        scores = generator.random(examples)
        losses = chrf_like(generator, scores)
        rates.append(bound_risk([scores], [losses], all_thresholds(scores), alpha=0.05, delta=0.1).rate)
    assert 0.4 < round(float(np.mean(rates)), 2) <= deferred


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["0/1", "graded"])
@pytest.mark.parametrize("examples", [60, 300])
def test_a_tested_floor_is_missed_no_more_often_than_delta(metric, examples):
    """A tier that is right with probability s before a target that is right with .8: the quality at t is
    .8 t + (1 - t ** 2) / 2. It is .75 at t = .4127 and above the floor from there to the target's .8."""
    generator, trials, missed, met = np.random.default_rng(20262), 300, 0, 0

    def drawn(mean):
        return (generator.random(len(mean)) < mean) * (1.0 if metric == "0/1" else generator.random(len(mean)) ** 0.01)

    for _ in range(trials):
        kept_at, scores = generator.random(100), generator.random(examples)
        path = candidate_path([kept_at], defer_all=True)
        path = from_best([kept_at], [1 - drawn(kept_at)], 1 - drawn(np.full(100, 0.8)), path)
        selected, target = drawn(scores), drawn(np.full(examples, 0.8))
        bound = bound_risk(
            [scores], [1 - selected], path, alpha=0.25, delta=DELTA, binary=metric == "0/1", target_losses=1 - target
        )
        t = np.clip(bound.thresholds[0], 0, 1)
        met += bound.met
        missed += bound.met and (0.8 * t + (1 - t**2) / 2) * (1 if metric == "0/1" else 1 / 1.01) < 0.75
    assert missed / trials <= DELTA + 3 * (DELTA * (1 - DELTA) / trials) ** 0.5
    assert met > trials / 10
