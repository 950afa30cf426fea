"""The arithmetic of replicas, and the policy as Ray Serve's controller calls it."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.deployments.autoscaling import deferral_policy, replicas_needed

COUNTS = st.floats(0, 1e6, allow_subnormal=False)
PER_REPLICA = st.floats(0.5, 100)


@pytest.mark.parametrize(
    ("ongoing", "expected", "per_replica", "replicas"),
    [
        (0, 0, 2, 0),
        (0.1, 0, 2, 1),
        (2, 0, 2, 1),
        (2.1, 0, 2, 2),
        (9, 0, 2, 5),
        # 4 requests a second, a quarter deferred, 6 s each: 6 in flight.
        (0, 4 * 0.25 * 6, 2, 3),
        (7, 6, 2, 4),
        (5, 12.5, 2.5, 5),
        # Less than a tenth of a replica is expected: not worth waking one for.
        (0, 0.19, 2, 0),
        (0, 0.2, 2, 1),
        (1, 0.19, 2, 1),
    ],
)
def test_replicas_needed(ongoing: float, expected: float, per_replica: float, replicas: int) -> None:
    assert replicas_needed(ongoing, expected, per_replica) == replicas


@given(COUNTS, COUNTS, PER_REPLICA)
def test_never_fewer_than_the_ongoing_requests_need(ongoing: float, expected: float, per_replica: float) -> None:
    alone = replicas_needed(ongoing, 0, per_replica)
    assert alone * per_replica >= ongoing * (1 - 1e-9)
    assert replicas_needed(ongoing, expected, per_replica) >= alone


@given(COUNTS, COUNTS, COUNTS, PER_REPLICA)
def test_more_deferrals_never_mean_fewer_replicas(ongoing: float, less: float, more: float, per: float) -> None:
    assert replicas_needed(ongoing, less, per) <= replicas_needed(ongoing, less + more, per)


def context(name: str, requests: float, metrics: dict[str, Any] | None = None, **changes: Any) -> SimpleNamespace:
    """Return the part of Ray Serve's `AutoscalingContext` that the policy reads."""
    values = {
        "deployment_name": name,
        "total_num_requests": requests,
        "current_num_replicas": 1,
        "target_num_replicas": 1,
        "config": SimpleNamespace(get_target_ongoing_requests=lambda: 2.0),
        "raw_metrics": metrics,
    }
    return SimpleNamespace(**values | changes)


def series(*values: float) -> list[SimpleNamespace]:
    return [SimpleNamespace(timestamp=number, value=value) for number, value in enumerate(values)]


def test_policy_adds_what_the_routers_expect() -> None:
    """Two router replicas; what each said last counts."""
    metrics = {
        "running_requests": {"r1": series(3)},
        "expected_ongoing:target": {"r1": series(1.0, 4.5), "r2": series(2.0), "r3": []},
        "expected_ongoing:fixed": {"r1": series(9.0)},
    }
    contexts = {"R": context("Router", 3, metrics), "A": context("a", 5), "T": context("target", 1, {})}
    assert deferral_policy(contexts) == ({"R": 2, "A": 3, "T": 4}, {})


def test_policy_without_figures_goes_by_the_requests() -> None:
    assert deferral_policy({"T": context("target", 7)}) == ({"T": 4}, {})


def test_policy_does_not_take_back_what_is_starting() -> None:
    starting = context("target", 0, current_num_replicas=0, target_num_replicas=2)
    assert deferral_policy({"T": starting}) == ({"T": 2}, {})
    asleep = context("target", 0, current_num_replicas=0, target_num_replicas=0)
    assert deferral_policy({"T": asleep}) == ({"T": 0}, {})


CONTROLLER = """
import pickle, sys
from types import SimpleNamespace as Context
sys.modules["serve_app"] = None  # importing it fails from here on
config = Context(get_target_ongoing_requests=lambda: 2.0)
context = Context(deployment_name="target", total_num_requests=7, current_num_replicas=1, raw_metrics={}, config=config)
print(pickle.load(sys.stdin.buffer)({"T": context}))
"""


def test_the_controller_needs_nothing_of_ours() -> None:
    """Serve pickles the policy's module by value, for a controller that may lack this package."""
    from ray.serve.config import AutoscalingPolicy

    policy = AutoscalingPolicy(policy_function="serve_app.deployments.autoscaling:deferral_policy")
    pickled = policy.get_serialized_policy_def()
    assert pickled
    result = subprocess.run([sys.executable, "-c", CONTROLLER], input=pickled, capture_output=True, check=True)
    assert result.stdout.decode().strip() == "({'T': 4}, {})"
