from itertools import pairwise

import numpy as np
import pytest

from serve_app.evaluation.statistics.pareto import RecordedTarget, RecordedTier, run
from serve_app.evaluation.statistics.search import (
    Spec,
    best_alone_within,
    choice_alone,
    choose,
    ladders,
    specs,
    within_budget,
)


def halves(examples):
    """Return disjoint random halves of the examples, as sorted indices."""
    shuffled = np.random.default_rng(0).permutation(examples)
    return tuple(np.sort(part) for part in np.array_split(shuffled, 2))


def test_specs_in_order():
    assert list(specs(["a", "b", "c"], ["bleu"], ["chow_avg"]))[:6] == [
        Spec(("a",), "chow_avg"),
        Spec(("b",), "chow_avg"),
        Spec(("c",), "chow_avg"),
        Spec(("a", "b"), "bleu"),
        Spec(("a", "b"), "chow_avg"),
        Spec(("a", "c"), "bleu"),
    ]
    for members in range(1, 6):
        expected = (2**members - 1 - members) * 2 + (2**members - 1) * 3
        assert len(list(specs([str(i) for i in range(members)], ["x", "y"], ["u", "v", "w"]))) == expected


def test_ladders_ask_cheap_members_first_and_keep_the_order_of_ties():
    ladder = [
        " -> ".join(f"{'+'.join(t.members)} {t.signal}" for t in tiers) for tiers in ladders("abc", "cab", "x", "u")
    ]
    assert ladder == [
        "c u -> a+c x",
        "c u -> b+c x",
        "a u -> a+b x",
        "c u -> a+b+c x",
        "c u -> a+c x -> a+b+c x",
        "a+c x -> a+b+c x",
    ]
    assert list(ladders("abc", "cab", "x", "")) == [(Spec(("a", "c"), "x"), Spec(("a", "b", "c"), "x"))]
    assert list(ladders("ab", "ab", "xy", "")) == []
    assert len(list(ladders("ab", "ab", "xy", "uv"))) == 4


def test_a_ladder_is_nested_and_has_three_tiers_at_most():
    tried = list(ladders("abcdef", "fedcba", "xy", "u"))
    assert len(tried) == len(set(tried)) == 2 * 201
    for tiers in tried:
        assert 2 <= len(tiers) <= 3
        assert all(set(smaller.members) < set(larger.members) for smaller, larger in pairwise(tiers))
        assert (len(tiers[0].members), tiers[0].signal in "xy") in ((1, False), (2, True))
        assert len({tier.signal for tier in tiers[1:]}) == 1


def simulated(n=2000, seed=0):
    """Return a tier that knows when it is wrong, one that does not, and a target that is right nine times in ten."""
    generator = np.random.default_rng(seed)
    right = (generator.random(n) < 0.6).astype(float)
    aware = RecordedTier(right + generator.normal(0, 0.2, n), right, np.full(n, 2.0))
    blind = RecordedTier(generator.random(n), right, np.full(n, 2.0))
    target = RecordedTarget((generator.random(n) < 0.9).astype(float), np.full(n, 10.0))
    return aware, blind, target


def test_choose_keeps_what_is_on_the_front_and_reports_it_elsewhere():
    aware, blind, target = simulated()
    parts = halves(2000)
    dear = RecordedTier(aware.scores, aware.selected, np.full(2000, 9.0))
    candidates = {"blind": [blind], "aware": [aware], "dear": [dear], "three": [blind, aware]}
    chosen = choose(((name, tiers, target) for name, tiers in candidates.items()), [("target", target)], parts)
    costs, qualities = [choice.chosen.cost for choice in chosen], [choice.chosen.quality for choice in chosen]
    assert costs == sorted(costs)
    assert qualities == sorted(qualities)
    assert len(set(qualities)) == len(qualities)
    names = {choice.cascade for choice in chosen}
    assert "aware" in names
    assert "dear" not in names
    for choice in chosen:
        tiers = candidates.get(choice.cascade, [])  # the target alone has none
        for part, setting in zip(parts, (choice.chosen, choice.held_out), strict=True):
            again = run([tier.take(part) for tier in tiers], target.take(part), choice.chosen.thresholds)
            assert (setting.cost, setting.quality) == (pytest.approx(again.cost), pytest.approx(again.quality))


def test_choose_reads_candidates_lazily():
    aware, blind, target = simulated(200)
    alive = []

    def candidates():
        for name, tier in (("a", aware), ("b", blind)):
            alive.append(name)
            yield name, [tier], target

    stream = candidates()
    assert not alive
    choose(stream, [("target", target)], halves(200), points=11)
    assert alive == ["a", "b"]


def test_the_target_alone_is_a_choice():
    _, _, target = simulated(100)
    worse = RecordedTier(np.zeros(100), np.zeros(100), np.full(100, 20.0))
    (only,) = choose([("worse", [worse], target)], [("target", target)], halves(100))
    assert (only.cascade, only.chosen.thresholds, only.chosen.cost) == ("target", (), 10.0)


def test_a_model_alone_stays_if_a_cascade_is_no_better_for_no_less():
    halves_ = (np.arange(4), np.arange(4, 8))
    model = RecordedTarget(np.array([1.0, 1, 0, 0, 1, 1, 1, 0]), np.full(8, 2.0))
    target = RecordedTarget(np.array([1.0, 1, 1, 0, 1, 1, 1, 1]), np.full(8, 10.0))
    # It defers the third alone, at the price of the scorer; the fourth is beyond the target, too.
    tier = RecordedTier(np.array([0.9, 0.8, 0.1, 0.9, 0.9, 0.1, 0.9, 0.9]), model.quality, np.full(8, 2.5))
    alone = {"model": model, "target": target}
    chosen = choose([("cascade", [tier], target)], alone.items(), halves_)
    # Without deferral the cascade would be the model for more; with all deferred, the target for more.
    assert [(choice.cascade, choice.chosen.cost, choice.chosen.quality) for choice in chosen] == [
        ("model", 2.0, 0.5),
        ("cascade", 5.0, 0.75),
    ]
    assert [(choice.held_out.cost, choice.held_out.quality) for choice in chosen] == [(2.0, 0.75), (5.0, 0.75)]
    assert [choice.outcome.quality.tolist() for choice in chosen] == [[1, 1, 1, 0], [1, 1, 1, 0]]
    assert [choice.outcome.accepted.tolist() for choice in chosen] == [[False] * 4, [True, False, True, True]]
    singles = [choice_alone(key, value, halves_) for key, value in alone.items()]
    compared = [best_alone_within(singles, choice) for choice in chosen]
    assert [model and model.cascade for model in compared] == ["model", "model"]
    assert best_alone_within(singles[1:], chosen[1]) is None


def test_within_budget():
    aware, _, target = simulated()
    chosen = choose([("aware", [aware], target)], [("target", target)], halves(2000))
    best = within_budget(chosen, 4.0)
    assert best is not None
    assert best.chosen.cost <= 4.0
    assert best.chosen.quality == max(choice.chosen.quality for choice in chosen if choice.chosen.cost <= 4.0)
    assert within_budget(chosen, 1.99) is None
