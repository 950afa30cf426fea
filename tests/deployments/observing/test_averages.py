"""Moving averages, worked by hand; times by a clock of the tests' own."""

from dataclasses import dataclass
from math import exp

import pytest

from serve_app.deployments.observing.averages import Average, Rate


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_rate_rises_and_decays() -> None:
    clock = Clock()
    rate = Rate(clock)
    assert rate.value() == 0
    for _ in range(20):
        rate.count()
    assert rate.value() == pytest.approx(2.0)
    clock.now += 10
    assert rate.value() == pytest.approx(2 / exp(1))
    rate.count()
    assert rate.value() == pytest.approx(2 / exp(1) + 0.1)


def test_rate_of_steady_arrivals() -> None:
    clock = Clock()
    rate = Rate(clock)
    for _ in range(2000):
        clock.now += 0.25
        rate.count()
    assert rate.value() == pytest.approx(4, rel=0.02)


def test_average_is_laplaces_rule_then_moves() -> None:
    share = Average(0.5, 2)
    share.observe(True)
    assert share.value == pytest.approx(2 / 3)
    share.observe(False)
    assert share.value == 0.5
    for _ in range(200):
        share.observe(True)
    assert share.value > 0.9
    assert Average().value == 0
