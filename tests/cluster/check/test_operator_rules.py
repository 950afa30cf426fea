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


def environment(body: Manifest) -> list[dict[str, str]]:
    return head(body)["containers"][0]["env"]


def annotate(body: Manifest, **annotations: str) -> None:
    body["metadata"]["annotations"] = {f"ray.io/{name.replace('_', '-')}": v for name, v in annotations.items()}


def without_v2(body: Manifest) -> None:
    del cluster(body)["autoscalerOptions"]["version"]


def without_autoscaler(body: Manifest) -> None:
    """Make it a cluster of fixed size, which has no incremental upgrades."""
    cluster(body).update(enableInTreeAutoscaling=False)
    body["spec"]["upgradeStrategy"] = {"type": "NewCluster"}


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
    (lambda b: options(b).update(stepSizePercent=51), "stepSizePercent: must be at most maxSurgePercent"),
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
    (lambda b: annotate(b, ft_enabled="true"), "the annotation ray.io/ft-enabled beside gcsFaultToleranceOptions"),
    (lambda b: annotate(b, external_storage_namespace="x"), "ray.io/external-storage-namespace beside gcsFault"),
    (
        lambda b: cluster(b)["headGroupSpec"]["rayStartParams"].update({"redis-password": "x"}),
        "redis-password in rayStartParams beside gcsFaultToleranceOptions",
    ),
    (
        lambda b: environment(b).append({"name": "REDIS_USERNAME", "value": "x"}),
        "belongs in gcsFaultToleranceOptions.redisUsername",
    ),
    (
        lambda b: (
            cluster(b).pop("gcsFaultToleranceOptions"),
            environment(b).append({"name": "RAY_REDIS_ADDRESS", "value": "redis:6379"}),
        ),
        "headGroupSpec: RAY_REDIS_ADDRESS without gcsFaultToleranceOptions",
    ),
    (
        lambda b: cluster(b)["gcsFaultToleranceOptions"].update(backend="rocksdb"),
        "redisAddress, redisPassword beside backend: rocksdb",
    ),
    (
        lambda b: cluster(b)["gcsFaultToleranceOptions"].update(storage={"size": "1Gi"}),
        "gcsFaultToleranceOptions.storage: only for backend: rocksdb",
    ),
    (lambda b: annotate(b, initializing_timeout="soon"), "initializing-timeout must be a time such as 30m"),
    (lambda b: annotate(b, initializing_timeout="0s"), "initializing-timeout must be a time such as 30m"),
    (lambda b: b["spec"].update(managedBy="me"), "spec.managedBy: 'me' is unknown"),
    (lambda b: cluster(b).update(managedBy="me"), "rayClusterConfig.managedBy: 'me' is unknown"),
    (lambda b: cluster(b).update(upgradeStrategy={"type": "Recreate"}), "rayClusterConfig.upgradeStrategy: only"),
    (lambda b: cluster(b)["authOptions"].update(enableK8sTokenAuth=True), "enableK8sTokenAuth: not for a RayService"),
    (
        lambda b: (without_autoscaler(b), environment(b).append({"name": "RAY_enable_autoscaler_v2", "value": "1"})),
        "RAY_enable_autoscaler_v2 needs enableInTreeAutoscaling",
    ),
    (
        lambda b: cluster(b)["autoscalerOptions"].update(env=[{"name": "KUBERAY_GEN_AUTOSCALER_START_CMD"}]),
        "KUBERAY_GEN_AUTOSCALER_START_CMD is the operator's own",
    ),
    (
        lambda b: cluster(b)["autoscalerOptions"].update(idleTimeoutSeconds=-1),
        "autoscalerOptions.idleTimeoutSeconds: must be 0 or more",
    ),
    (lambda b: group(b).update(idleTimeoutSeconds=-1), "cpu.idleTimeoutSeconds: must be 0 or more"),
    (
        lambda b: (without_v2(b), group(b).update(idleTimeoutSeconds=9, priority=1)),
        "cpu: idleTimeoutSeconds, priority needs autoscalerOptions.version: v2",
    ),
    (
        lambda b: (cluster(b).update(rayVersion="2.55.1"), group(b).update(priority=1)),
        "rayVersion: the priority of cpu needs 2.56.0",
    ),
    (lambda b: group(b).update(groupName="a" * 64), f"groupName {'a' * 64!r} is a label: up to 63 characters"),
    (lambda b: group(b).update(suspend=True), "cpu.suspend: not with enableInTreeAutoscaling"),
    (lambda b: group(b).update(minReplicas=8), "cpu: minReplicas must be 0 or more, and at most maxReplicas"),
    (lambda b: group(b).update(minReplicas=-1), "cpu: minReplicas must be 0 or more"),
    (lambda b: group(b).update(labels={"zone": "a b"}), "cpu.labels: the value 'a b' of 'zone' must be"),
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
    faults = operator_faults(body)
    assert any(sentence in fault for fault in faults)
    assert len(faults) <= 2  # an old version of Ray breaks two rules


@pytest.mark.parametrize("overlay", CONFIGS)
def test_committed_services_break_no_rule(overlay: str) -> None:
    assert operator_faults(service(overlay)) == []


def permit(body: Manifest) -> None:
    """Change the body in ways that the operator accepts, though they look like its faults."""
    annotate(body, initializing_timeout="1h30m")
    del group(body)["replicas"]
    group(body).update(idleTimeoutSeconds=60, priority=1, labels={"zone": ""})
    body["spec"]["managedBy"] = "kueue.x-k8s.io/multikueue"


def test_what_the_operator_takes_is_no_fault() -> None:
    body = deepcopy(service("gpu-autoscaling"))
    permit(body)
    assert operator_faults(body) == []


@pytest.mark.parametrize("seconds", ["1800", "90.5s", "2h", "1h30m5s"])
def test_times_as_go_reads_them(seconds: str) -> None:
    body = deepcopy(service("cpu-demo"))
    annotate(body, initializing_timeout=seconds)
    assert operator_faults(body) == []


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
