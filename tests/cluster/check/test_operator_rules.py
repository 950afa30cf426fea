"""What KubeRay refuses or ignores: each rule broken once in manifests that keep them all."""

from collections.abc import Callable
from copy import deepcopy

import pytest

from serve_app.cluster.check.operator_rules import drain_faults, operator_faults
from serve_app.cluster.manifests import Manifest
from tests.cluster.overlays import CONFIGS, service


def cluster(body: Manifest) -> Manifest:
    return body["spec"]["rayClusterConfig"]


def head(body: Manifest) -> Manifest:
    return cluster(body)["headGroupSpec"]["template"]["spec"]


def options(body: Manifest) -> Manifest:
    return body["spec"]["upgradeStrategy"]["clusterUpgradeOptions"]


def group(body: Manifest) -> Manifest:
    return cluster(body)["workerGroupSpecs"][0]


BREAKS: list[tuple[Callable[[Manifest], object], str]] = [
    (lambda b: b["metadata"].update(name="c" * 48), "metadata.name"),
    (lambda b: b["metadata"].update(name="9c"), "metadata.name"),
    (
        lambda b: b["spec"]["upgradeStrategy"].update(type="BlueGreen"),
        "'BlueGreen' is unknown; choose one of New",
    ),
    (lambda b: b["spec"]["upgradeStrategy"].update(type="NewCluster"), "ignored with NewCluster"),
    (lambda b: cluster(b).update(enableInTreeAutoscaling=False), "need enableInTreeAutoscaling"),
    (lambda b: options(b).update(gatewayClassName=""), "gatewayClassName: required"),
    (lambda b: options(b).update(intervalSeconds=0), "intervalSeconds: must be more than 0"),
    (lambda b: options(b).update(stepSizePercent=101), "stepSizePercent: must be 0 to 100"),
    (lambda b: options(b).pop("stepSizePercent"), "stepSizePercent: must be 0 to 100"),
    (lambda b: options(b).update(maxSurgePercent=-1), "maxSurgePercent: must be 0 to 100"),
    (lambda b: b["spec"].update(serveService={}), "serveService: ignored"),
    (lambda b: b["spec"].update(serveConfigV2="target_capacity: 50\n"), "target_capacity is the operator's own"),
    (lambda b: cluster(b)["authOptions"].pop("mode"), "without `token` authentication stays off"),
    (lambda b: cluster(b).update(rayVersion="2.51.0"), "token authentication needs 2.52.0"),
    (lambda b: cluster(b).update(rayVersion="2.52.0"), "/api/healthz needs 2.53.0"),
    (lambda b: head(b).update(restartPolicy="Always"), "headGroupSpec.restartPolicy"),
    (lambda b: group(b)["template"]["spec"].update(restartPolicy="OnFailure"), "cpu.restartPolicy"),
    (
        lambda b: head(b)["containers"][0]["env"].append({"name": "RAY_enable_autoscaler_v2", "value": "1"}),
        "RAY_enable_autoscaler_v2 beside",
    ),
    (
        lambda b: head(b)["containers"][0]["env"].append({"name": "REDIS_PASSWORD", "value": "x"}),
        "REDIS_PASSWORD beside gcsFaultToleranceOptions",
    ),
    (
        lambda b: cluster(b)["headGroupSpec"].update(headService={"metadata": {"name": "h"}}),
        "headService.metadata.name: must not be set",
    ),
    (lambda b: head(b)["containers"][0]["ports"].pop(0), "missing: gcs-server"),
    (lambda b: cluster(b)["headGroupSpec"].update(resources={"CPU": "1"}), "head: num-cpus in rayStartParams beside"),
    (lambda b: group(b).update(rayStartParams={"num-gpus": "1"}), "cpu: num-gpus in rayStartParams beside resources"),
    (lambda b: group(b).update(rayStartParams={"labels": "a=b"}), "cpu: labels do not belong"),
    (lambda b: group(b).update(replicas=9), "cpu: replicas is outside of minReplicas to maxReplicas"),
    (lambda b: group(b).update(groupName="gpu-l4"), "duplicate group 'gpu-l4'"),
]


@pytest.mark.parametrize(("break_", "sentence"), BREAKS, ids=[sentence for _, sentence in BREAKS])
def test_a_broken_rule_is_the_one_fault(break_: Callable[[Manifest], object], sentence: str) -> None:
    body = deepcopy(service("gpu-autoscaling"))
    break_(body)
    found = operator_faults(body)
    assert any(sentence in fault for fault in found)
    assert len(found) <= 2  # an old version of Ray breaks two rules


@pytest.mark.parametrize("overlay", CONFIGS)
def test_committed_services_break_no_rule(overlay: str) -> None:
    assert operator_faults(service(overlay)) == []


def test_a_time_that_is_no_number_is_a_fault() -> None:
    body = deepcopy(service("cpu-demo"))
    variable = {"name": "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "valueFrom": {}}
    group(body)["template"]["spec"]["containers"][0]["env"].append(variable)
    assert drain_faults(body, 20, 750) == [
        "cpu: RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S must be a number of seconds, got ''."
    ]


def test_times_must_grow_from_replica_to_pod() -> None:
    body = service("cpu-demo")
    assert drain_faults(body, 20, 750) == []
    sums = "a replica may take 120 s to end, Ray drains for 120 s and Kubernetes waits for 150 s"
    assert drain_faults(body, 120, 751) == [
        f"headGroupSpec: {sums}: each must be more than the one before.",
        f"cpu: {sums}: each must be more than the one before.",
        "rayClusterDeletionDelaySeconds: 750 s, but a request may take 751 s.",
    ]
