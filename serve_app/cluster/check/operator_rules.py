"""Rules of KubeRay's operator (release 1.7) that no schema states: what it refuses, or silently ignores."""

import re
from collections.abc import Iterator

from serve_app.cluster.check.cluster_rules import cluster_faults, templates, variables
from serve_app.cluster.field_types import NAME_LENGTH
from serve_app.cluster.manifests import Fields, Manifest

UPGRADES = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")
DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
MANAGERS = ("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue")
INITIALIZING_TIMEOUT = "ray.io/initializing-timeout"
DURATION = re.compile(r"(?=.*[1-9])((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+|0*[1-9]\d*")
"""What Go takes as a positive duration, or a positive whole number of seconds."""


def operator_faults(service: Manifest) -> list[str]:
    """Return a sentence for each field of a RayService that the operator would refuse or ignore."""
    annotations, spec = service["metadata"].get("annotations") or {}, service["spec"]
    return [
        *_name(service),
        *_initializing_timeout(annotations),
        *_managers(spec),
        *_upgrade(spec),
        *cluster_faults(spec["rayClusterConfig"], annotations),
    ]


def drain_faults(service: Manifest, replica_s: float, request_s: float) -> list[str]:
    """Return a sentence for each time limit that is shorter than what it has to wait for.

    Ray must drain for longer than a replica may take to end (`replica_s`, the longest `graceful_shutdown_timeout_s`),
    Kubernetes must wait for longer than Ray drains, and a replaced cluster must outlast a request (`request_s`).
    """
    spec = service["spec"]
    sentences = []
    for where, template in templates(spec["rayClusterConfig"]):
        value = variables(template).get(DRAIN, "30")
        if not re.fullmatch(r"\d+(\.\d*)?", value):
            sentences.append(f"{where}: {DRAIN} must be a number of seconds, got {value!r}.")
            continue
        drain = float(value)
        grace = template["spec"].get("terminationGracePeriodSeconds", 30)
        if not replica_s < drain < grace:
            sentences.append(
                f"{where}: a replica may take {replica_s:g} s to end, Ray drains for {drain:g} s and Kubernetes waits "
                f"for {grace} s: each must be more than the one before."
            )
    delay = spec.get("rayClusterDeletionDelaySeconds", 60)
    if delay < request_s:
        sentences.append(f"rayClusterDeletionDelaySeconds: {delay} s, but a request may take {request_s:g} s.")
    return sentences


def _name(service: Manifest) -> Iterator[str]:
    name = service["metadata"]["name"]
    if len(name) > NAME_LENGTH or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield f"metadata.name: {name!r} must be a DNS label of up to {NAME_LENGTH} characters, a letter first."


def _initializing_timeout(annotations: Fields) -> Iterator[str]:
    value = annotations.get(INITIALIZING_TIMEOUT)
    if value and not DURATION.fullmatch(value):
        yield f"metadata.annotations: {INITIALIZING_TIMEOUT} must be a time such as 30m, or seconds, got {value!r}."


def _managers(spec: Fields) -> Iterator[str]:
    for where, part in (("spec", spec), ("rayClusterConfig", spec["rayClusterConfig"])):
        if part.get("managedBy", MANAGERS[0]) not in MANAGERS:
            yield f"{where}.managedBy: {part['managedBy']!r} is unknown; choose one of {', '.join(MANAGERS)}."


def _upgrade(spec: Fields) -> Iterator[str]:
    strategy = spec.get("upgradeStrategy", {})
    kind = strategy.get("type", "NewCluster")
    if kind not in UPGRADES:
        yield f"upgradeStrategy.type: {kind!r} is unknown; choose one of {', '.join(UPGRADES)}."
    if kind != "NewClusterWithIncrementalUpgrade":
        if "clusterUpgradeOptions" in strategy:
            yield f"upgradeStrategy.clusterUpgradeOptions: ignored with {kind}."
        return
    options = strategy.get("clusterUpgradeOptions", {})
    if not spec["rayClusterConfig"].get("enableInTreeAutoscaling"):
        yield "upgradeStrategy: incremental upgrades need enableInTreeAutoscaling."
    if not options.get("gatewayClassName"):
        yield "clusterUpgradeOptions.gatewayClassName: required."
    if options.get("intervalSeconds", 0) <= 0:
        yield "clusterUpgradeOptions.intervalSeconds: must be more than 0."
    for field, default in (("stepSizePercent", -1), ("maxSurgePercent", 100)):
        if not 0 <= options.get(field, default) <= 100:
            yield f"clusterUpgradeOptions.{field}: must be 0 to 100."
    if options.get("stepSizePercent", 0) > options.get("maxSurgePercent", 100):
        yield "clusterUpgradeOptions.stepSizePercent: must be at most maxSurgePercent."
    if "serveService" in spec:
        yield "serveService: ignored with incremental upgrades."
    if re.search(r"^target_capacity:", spec.get("serveConfigV2", ""), re.MULTILINE):
        yield "serveConfigV2: target_capacity is the operator's own during incremental upgrades."
