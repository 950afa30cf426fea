"""The metric values that hold until they change: the policies in force, what is left out, and the pressure."""

from collections.abc import Iterator

from serve_app.deployments.observing.metrics import CALIBRATED_RATE, LEFT_OUT, REFUSED, SHEDDING, THRESHOLD, Measure
from serve_app.deployments.policies import Policies
from serve_app.deployments.protecting.protection import Protection
from serve_app.deployments.protecting.shedding import Shedding


def gauges(policies: Policies, protection: Protection, shedding: Shedding) -> Iterator[Measure]:
    """Yield the value of each of a router's gauges."""
    yield REFUSED, policies.refused is not None, ()
    for name, breaker in protection.breakers.items():
        yield LEFT_OUT, breaker.left_s is not None, (name,)
    for id_, row in policies.thresholds.items():
        for number, threshold in enumerate(row):
            yield THRESHOLD, threshold, (id_, str(number))
    for id_, active, _ in shedding.states():
        yield SHEDDING, active, (id_,)
    for id_, rates in policies.expected.items():
        for bound, rate in zip(("expected", "low", "high"), rates or (), strict=False):
            yield CALIBRATED_RATE, rate, (id_, bound)
