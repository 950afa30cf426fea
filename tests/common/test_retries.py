"""Retries never outnumber their budget, and waits are within their bounds."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.common.retries import RetryBudget, wait_s


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


STEPS = st.lists(st.sampled_from(("call", "retry")) | st.floats(0, 20), max_size=80)


@given(STEPS, st.floats(1, 10), st.floats(0, 1), st.floats(0, 1))
def test_over_any_time_there_are_no_more_than_were_saved_up(
    steps: list[str | float], reserve: float, per_call: float, per_s: float
) -> None:
    clock = Clock()
    budget = RetryBudget(reserve, per_call, per_s, clock)
    history: list[tuple[float, int, int]] = [(0.0, 0, 0)]
    calls = retries = 0
    for step in steps:
        if step == "call":
            budget.called()
            calls += 1
        elif step == "retry":
            retries += budget.take()
        else:
            clock.now += float(step)
        history.append((clock.now, calls, retries))
    for at, calls_then, retries_then in history:  # from any moment on
        most = reserve + per_call * (calls - calls_then) + per_s * (clock.now - at)
        assert retries - retries_then <= most + 1e-6


@given(st.integers(1, 30))
def test_a_storm_of_failures_is_tried_again_in_a_tenth(storms: int) -> None:
    """Every call fails and would be tried again twice: the reserve of 10, and one for every ten calls."""
    budget = RetryBudget(clock=Clock())
    calls = 100 * storms
    retries = 0
    for _ in range(calls):
        budget.called()
        retries += budget.take() + budget.take()
    assert retries in (10 + calls // 10 - 1, 10 + calls // 10)


def test_time_brings_retries_back() -> None:
    clock = Clock()
    budget = RetryBudget(reserve=2, per_call=0, per_s=0.1, clock=clock)
    assert [budget.take(), budget.take(), budget.take()] == [True, True, False]
    clock.now = 9.9
    assert not budget.take()
    clock.now = 10.0
    assert [budget.take(), budget.take()] == [True, False]
    clock.now = 1000.0
    assert [budget.take(), budget.take(), budget.take()] == [True, True, False]


@pytest.mark.parametrize(
    ("retry", "draw", "seconds"),
    [(0, 1.0, 0.5), (0, 0.0, 0.0), (1, 1.0, 1.0), (2, 0.5, 1.0), (4, 1.0, 8.0), (99, 1.0, 8.0)],
)
def test_waits_double_up_to_a_limit(retry: int, draw: float, seconds: float) -> None:
    assert wait_s(retry, draw) == seconds


@given(st.integers(0, 50), st.floats(0, 1), st.floats(0, 1000))
def test_a_named_wait_is_kept_or_not_sat_out(retry: int, draw: float, named_s: float) -> None:
    waited = wait_s(retry, draw, named_s)
    if named_s > 120:
        assert waited is None
    else:
        assert waited is not None
        assert named_s <= waited
        assert waited == max(wait_s(retry, draw) or 0.0, named_s * (1 + 0.1 * draw))


def test_a_named_wait_of_nothing_leaves_the_jitter() -> None:
    assert [wait_s(retry, 0.5, 0.0) for retry in (0, 1, 9)] == [0.25, 0.5, 4.0]
    assert [wait_s(retry, 0.5, 2.0) for retry in (0, 9)] == [2.1, 4.0]
