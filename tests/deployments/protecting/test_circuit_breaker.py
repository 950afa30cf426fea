"""When a breaker opens, how long for, and what closes it; times by a clock of the test's own."""

from math import inf

import pytest

from serve_app.config.services import CircuitBreakerConfig
from serve_app.deployments.protecting.circuit_breaker import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(CircuitBreakerConfig(failures=3, open_s=10, longest_s=30), clock)


@pytest.fixture
def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    """Return a breaker that has opened now, for 10 s."""
    call(breaker, *[False] * 3)
    return breaker


@pytest.fixture
def half_open(opened: CircuitBreaker, clock: Clock) -> CircuitBreaker:
    """Return a breaker whose 10 s are over, so that the next call is its trial."""
    clock.now += 10
    return opened


def call(breaker: CircuitBreaker, *outcomes: bool | None) -> None:
    for works in outcomes:
        with breaker.trial() as trial:
            trial.report(works)


def test_it_opens_after_failures_in_a_row(breaker: CircuitBreaker, clock: Clock) -> None:
    call(breaker, False, False, True, False, False)
    assert breaker.left_s is None
    call(breaker, False)
    assert (breaker.left_s, breaker.failures) == (10, 3)
    clock.now += 4
    assert breaker.left_s == 6


def test_calls_that_say_nothing_count_for_nothing(breaker: CircuitBreaker) -> None:
    call(breaker, False, False, None, None, None)
    assert breaker.left_s is None
    call(breaker, False)
    assert breaker.left_s == 10


def test_one_trial_at_a_time_when_the_time_is_over(half_open: CircuitBreaker) -> None:
    assert half_open.left_s is None
    with half_open.trial() as trial:
        assert half_open.left_s == 0  # the others are refused meanwhile
        trial.report(True)
        assert half_open.left_s is None  # before its end: a stream may be long
    assert (half_open.left_s, half_open.failures) == (None, 0)


def test_a_trial_that_fails_after_it_has_begun_to_work_doubles_the_time(half_open: CircuitBreaker) -> None:
    with half_open.trial() as trial:
        trial.report(True)
        trial.report(False)
    assert (half_open.left_s, half_open.failures) == (20, 4)


def test_one_failure_opens_it_again_until_the_trial_has_succeeded(half_open: CircuitBreaker) -> None:
    with half_open.trial() as trial:
        trial.report(True)
        call(half_open, False)
        assert half_open.left_s == 10
        trial.report(True)  # the next piece of the same stream
        assert half_open.left_s == 10
    assert half_open.left_s is None


def test_a_trial_that_has_let_others_through_does_not_end_the_next_one(half_open: CircuitBreaker, clock: Clock) -> None:
    with half_open.trial() as first:
        first.report(True)
        call(half_open, False)
        clock.now += 10
        with half_open.trial():
            first.report(True)
            assert half_open.left_s == 0
    assert half_open.left_s is None


def test_each_failed_trial_doubles_the_time(opened: CircuitBreaker, clock: Clock) -> None:
    for open_s in (20, 30, 30):
        clock.now += 1000
        call(opened, False)
        assert opened.left_s == open_s
    clock.now += 1000
    call(opened, True)
    call(opened, False, False, False)
    assert opened.left_s == 10


def test_a_trial_that_was_cancelled_lets_another_one_through(half_open: CircuitBreaker) -> None:
    with pytest.raises(KeyboardInterrupt), half_open.trial():
        raise KeyboardInterrupt
    assert half_open.left_s is None


def test_failures_of_calls_from_before_it_opened_do_not_prolong_it(breaker: CircuitBreaker, clock: Clock) -> None:
    with breaker.trial() as early:
        call(breaker, False, False, False)
        clock.now += 9
        early.report(False)
    assert breaker.left_s == 1


def test_a_success_of_a_call_from_before_closes_it(breaker: CircuitBreaker) -> None:
    with breaker.trial() as early:
        call(breaker, False, False, False)
        early.report(True)
    assert breaker.left_s is None


def test_null_leaves_nothing_out(clock: Clock) -> None:
    breaker = CircuitBreaker(CircuitBreakerConfig(failures=None), clock)
    call(breaker, *[False] * 1000)
    assert breaker.left_s is None
    assert breaker.failures < inf
