"""The search for the most similar past requests is exact, and no request is its own neighbour."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core.deciding.skip import SkipPolicy, check
from serve_app.core.types.outcome import Precheck
from serve_app.skipping.fitted import Fitted
from serve_app.skipping.lookup import ROWS, Lookup

POLICY = SkipPolicy(3, 0.6, 0.9, "a", -1.0)


class Past(Lookup):
    """Past requests, and the look-up of new ones under one policy."""

    def __init__(self, embeddings: np.ndarray, scores: np.ndarray, policy: SkipPolicy) -> None:
        super().__init__(Fitted({}, embeddings.astype(np.float16), scores, np.zeros(2, np.float32)))
        self.policy = policy

    def checks(self, vectors: np.ndarray, thresholds: Sequence[float], own: np.ndarray | None = None) -> list[Precheck]:
        nearest = self.nearest(vectors, self.policy.k, own)
        return [self.check(self.policy, neighbours, thresholds) for neighbours in nearest]


def lookup(embeddings: np.ndarray, scores: list[float], policy: SkipPolicy = POLICY) -> Past:
    return Past(embeddings, np.array(scores, dtype=np.float64)[:, np.newaxis], policy)


def at(*degrees: float) -> np.ndarray:
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_the_nearest_three_decide_by_hand() -> None:
    past = lookup(at(0, 5, 10, 80, 90), [0.2, 0.2, 0.9, 0.9, 0.9])
    [low, high] = past.checks(at(1, 85), [0.5])
    assert low == Precheck("deferred", 3, 2 / 3)
    assert high == Precheck("accepted", 3, 0.0, "a")


def test_other_thresholds_give_other_flags() -> None:
    past = lookup(at(0, 5, 10), [0.2, 0.4, 0.9])
    assert [past.flags([threshold]) for threshold in (0.1, 0.3, 0.95)] == [
        [False, False, False],
        [True, False, False],
        [True, True, True],
    ]
    assert past.checks(at(0), [0.95])[0].verdict == "deferred"
    assert past.checks(at(0), [0.1])[0].verdict == "accepted"


def test_flags_are_of_their_thresholds_though_another_thread_asks_for_others() -> None:
    past = lookup(at(0, 5, 10), [0.2, 0.4, 0.9])

    class Interrupted(list[float]):
        def __iter__(self) -> Iterator[float]:
            past.flags([0.95])
            return super().__iter__()

    past.flags([0.3])
    assert past.flags(Interrupted([0.3])) == [True, False, False]


def test_a_past_request_is_not_its_own_neighbour() -> None:
    past = lookup(at(0, 0, 0, 90), [0.9, 0.2, 0.2, 0.9])
    [first, *_] = past.checks(at(0, 0, 0, 90), [0.5], np.arange(4))
    assert first == Precheck("deferred", 3, 2 / 3)
    few = lookup(at(0, 1, 2), [0.9] * 3).checks(at(0), [0.5], np.array([0]))
    assert few == [Precheck(None, 2)]


def test_past_requests_that_are_not_similar_do_not_count() -> None:
    policy = SkipPolicy(3, 0.6, None, "a", 0.9)
    past = lookup(at(0, 5, 10, 40), [0.1] * 4, policy)
    assert [precheck.neighbours for precheck in past.checks(at(5, 20, 60), [0.5])] == [3, 3, 1]


def test_a_cosine_that_equals_the_limit_is_similar_enough() -> None:
    vectors = np.array([[0.7, 0.51**0.5]], dtype=np.float32)
    past = lookup(at(0, 0, 0), [0.1] * 3, SkipPolicy(3, 0.6, None, "a", 0.7))
    assert past.checks(vectors, [0.5]) == [Precheck("deferred", 3, 1.0)]


@given(st.integers(3, 30), st.integers(1, 2 * ROWS + 3), st.integers(0, 2**32 - 1))
def test_the_search_is_that_of_a_full_sort(past: int, new: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    embeddings = at(*generator.integers(0, 12, past) * 30.0)  # so that many are equal
    vectors = at(*generator.uniform(0, 360, new))
    scores = generator.uniform(size=past).tolist()
    cosines = np.round((vectors @ embeddings.astype(np.float16).astype(np.float32).T).astype(np.float64), 5)
    expected = []
    for row in cosines:
        nearest = sorted(range(past), key=lambda k, row=row: (-row[k], k))[:3]
        expected.append(check(POLICY, [float(row[k]) for k in nearest], [scores[k] < 0.5 for k in nearest]))
    assert lookup(embeddings, scores).checks(vectors, [0.5]) == expected


def test_one_request_gets_what_it_gets_among_others() -> None:
    generator = np.random.default_rng(1)
    embeddings = generator.normal(size=(500, 2)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    past = lookup(embeddings, generator.uniform(size=500).tolist(), SkipPolicy(25, 0.6, 0.6, "a", 0.0))
    together = past.checks(embeddings[:100], [0.5])
    assert together == [past.checks(embeddings[k : k + 1], [0.5])[0] for k in range(100)]
    assert {precheck.verdict for precheck in together} == {"deferred", "accepted", None}


@pytest.mark.parametrize("tiers", [1, 2])
def test_flags_are_of_all_tiers(tiers: int) -> None:
    scores = np.array([[0.2, 0.9]])[:, :tiers]
    past = Past(at(0), scores, POLICY)
    assert past.flags([0.5, 0.5][:tiers]) == [tiers == 1]
