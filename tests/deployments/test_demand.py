"""What later tiers' models are expected to have to do, worked by hand."""

import pytest

from serve_app.core.types.policy import Tier
from serve_app.deployments.autoscaling import replicas_needed
from serve_app.deployments.demand import Demand

IDS = {
    "default": [Tier(("a", "b")), Tier(("target",))],
    "long": [Tier(("a",)), Tier(("target",)), Tier(("large",))],
    "a": [Tier(("a",))],
    "b": [Tier(("b",))],
    "target": [Tier(("target",))],
    "large": [Tier(("large",))],
}


def test_demand_is_arrivals_times_deferrals_times_seconds() -> None:
    now = 1000.0
    demand = Demand(IDS, str, lambda: now)
    assert demand.expected() == {"target": 0, "large": 0}
    for _ in range(40):
        demand.arrived("default")  # 4 /s
    for _ in range(10):
        demand.arrived("target")  # 1 /s, without a cascade
    assert demand.expected() == {"target": 0, "large": 0}  # nobody knows yet how long it takes
    demand.answered("target", 2.0)
    demand.answered("target", 4.0)
    demand.answered("a", 99.0)
    assert demand.expected()["target"] == pytest.approx((4 * 0.5 + 1) * 3)
    demand.finished("default", 2)
    demand.finished("default", 1)
    demand.finished("default", 1)
    assert demand.expected()["target"] == pytest.approx((4 * 2 / 5 + 1) * 3)
    now += 200
    assert replicas_needed(0, demand.expected()["target"], 1) == 0


def test_demand_of_a_third_tier() -> None:
    demand = Demand(IDS, str, lambda: 1000.0)
    demand.answered("target", 1.0)
    demand.answered("large", 10.0)
    for _ in range(10):
        demand.arrived("long")
    demand.finished("long", 3)
    demand.finished("long", 2)
    # Of 1 /s, 3 of 4 get to the second tier and 2 of 4 to the third.
    assert demand.expected() == {"target": pytest.approx(0.75), "large": pytest.approx(5.0)}
