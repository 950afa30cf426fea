"""Replicas by load: every deployment by its own requests, a later tier's model also by those on their way to it.

Ray Serve's controller calls `deferral_policy`, an autoscaling policy of the whole application; it gets this module by
value, so nothing of ours is imported here.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

EXPECTED = "expected_ongoing:"
"""Prefix, before a model's name, of the metric by which a router replica reports that model's expected load."""
NEGLIGIBLE = 0.1
"""Expected work below this share of one replica neither wakes a sleeping model nor keeps it awake."""


def replicas_needed(ongoing: float, expected: float, per_replica: float) -> int:
    """Return the replicas that requests in flight or queued need, and those expected to be in flight soon.

    `expected` requests in flight follow from Little's law: arrivals a second at the first tier, times the share of
    them that gets as far as this model, times the seconds it takes for one. In a steady state both figures are the
    same; when arrivals rise, `expected` rises first. `per_replica` is how many one replica should have.
    """
    expected = expected if expected >= NEGLIGIBLE * per_replica else 0.0
    return math.ceil(max(ongoing, expected) / per_replica)


def deferral_policy(contexts: Mapping[Any, Any]) -> tuple[dict[Any, int], dict[Any, dict[str, Any]]]:
    """Return the replicas of each deployment that scales, by its `AutoscalingContext`, and no state.

    This is Ray Serve's application-level policy: Serve applies bounds, delays and factors of each deployment's
    `autoscaling_config` to what is returned.
    """
    expected = _expected(contexts)
    targets = {}
    for deployment, context in contexts.items():
        replicas = replicas_needed(
            context.total_num_requests,
            expected.get(context.deployment_name, 0.0),
            context.config.get_target_ongoing_requests(),
        )
        # As in Serve's own policy: what has been ordered and has not started yet is not taken back.
        starting = context.target_num_replicas if context.current_num_replicas == 0 else 0
        targets[deployment] = max(replicas, starting)
    return targets, {}


def _expected(contexts: Mapping[Any, Any]) -> dict[str, float]:
    """Return the last reports of the router replicas, summed by model."""
    expected: dict[str, float] = defaultdict(float)
    for context in contexts.values():
        for metric, series_by_replica in (context.raw_metrics or {}).items():
            if metric.startswith(EXPECTED):
                last = [series[-1].value for series in series_by_replica.values() if series]
                expected[metric.removeprefix(EXPECTED)] += sum(last)
    return expected
