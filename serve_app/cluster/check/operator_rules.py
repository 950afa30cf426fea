"""Rules of KubeRay's operator (release 1.7) that no schema states: what it refuses, or silently ignores."""

import re
from collections.abc import Iterator

from serve_app.cluster.manifests import Fields, Manifest
from serve_app.cluster.settings import NAME_LENGTH

UPGRADES = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")
TOKEN_RAY = (2, 52, 0)
"""The first version of Ray with token authentication."""
PROBE_RAY = (2, 53, 0)
"""The first version of Ray whose agent answers /api/healthz."""
DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
HEAD_PORTS = {"gcs-server", "dashboard", "client", "serve", "metrics"}


def operator_faults(service: Manifest) -> list[str]:
    """Return a sentence for each field of a RayService that the operator would refuse or ignore."""
    return [*_name(service), *_upgrade(service["spec"]), *_cluster(service["spec"]["rayClusterConfig"])]


def drain_faults(service: Manifest, replica_s: float, request_s: float) -> list[str]:
    """Return a sentence for each time limit that is shorter than what it has to wait for.

    Ray must drain for longer than a replica may take to end (`replica_s`, the longest `graceful_shutdown_timeout_s`),
    Kubernetes must wait for longer than Ray drains, and a replaced cluster must outlast a request (`request_s`).
    """
    spec = service["spec"]
    sentences = []
    for where, template in _templates(spec["rayClusterConfig"]):
        value = _variables(template).get(DRAIN, "30")
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
    if "serveService" in spec:
        yield "serveService: ignored with incremental upgrades."
    if re.search(r"^target_capacity:", spec.get("serveConfigV2", ""), re.MULTILINE):
        yield "serveConfigV2: target_capacity is the operator's own during incremental upgrades."


def _cluster(cluster: Fields) -> Iterator[str]:
    version = tuple(int(part) for part in re.findall(r"\d+", cluster.get("rayVersion", ""))[:3])
    if cluster.get("authOptions", {}).get("secretName") and cluster["authOptions"].get("mode") != "token":
        yield "authOptions.mode: without `token` authentication stays off."
    if cluster.get("authOptions", {}).get("mode") == "token" and version < TOKEN_RAY:
        yield "rayVersion: token authentication needs 2.52.0 or later."
    if version < PROBE_RAY:
        yield "rayVersion: the probe /api/healthz needs 2.53.0 or later."
    yield from _head(cluster)
    yield from _groups(cluster.get("workerGroupSpecs", []))
    v2 = cluster.get("autoscalerOptions", {}).get("version") == "v2"
    for where, template in _templates(cluster):
        if v2 and template["spec"].get("restartPolicy", "Never") != "Never":
            yield f"{where}.restartPolicy: must be Never or unset with autoscaler v2."
        if v2 and "RAY_enable_autoscaler_v2" in _variables(template):
            yield f"{where}: RAY_enable_autoscaler_v2 beside autoscalerOptions.version."


def _head(cluster: Fields) -> Iterator[str]:
    head = cluster["headGroupSpec"]
    if head.get("headService", {}).get("metadata", {}).get("name"):
        yield "headGroupSpec.headService.metadata.name: must not be set."
    ports = {port.get("name") for port in head["template"]["spec"]["containers"][0].get("ports", [])}
    if ports and (missing := HEAD_PORTS - ports):
        yield f"headGroupSpec: if any port is named, all must be; missing: {', '.join(sorted(missing))}."
    if "gcsFaultToleranceOptions" in cluster:
        variables = {"REDIS_PASSWORD", "RAY_REDIS_ADDRESS", "REDIS_USERNAME"} & _variables(head["template"]).keys()
        yield from (f"headGroupSpec: {name} beside gcsFaultToleranceOptions." for name in sorted(variables))
    yield from _resources_once("head", head)


def _groups(groups: list[Fields]) -> Iterator[str]:
    names = [group["groupName"] for group in groups]
    yield from (
        f"workerGroupSpecs: duplicate group {name!r}." for name in sorted({n for n in names if names.count(n) > 1})
    )
    for group in groups:
        name = group["groupName"]
        if not group["minReplicas"] <= group.get("replicas", 0) <= group["maxReplicas"]:
            yield f"{name}: replicas is outside of minReplicas to maxReplicas."
        yield from _resources_once(name, group)


def _resources_once(name: str, group: Fields) -> Iterator[str]:
    parameters = {"num-cpus", "num-gpus", "memory", "resources"} & group.get("rayStartParams", {}).keys()
    if parameters and group.get("resources"):
        yield f"{name}: {', '.join(sorted(parameters))} in rayStartParams beside resources; only one may be used."
    if "labels" in group.get("rayStartParams", {}):
        yield f"{name}: labels do not belong in rayStartParams."


def _templates(cluster: Fields) -> Iterator[tuple[str, Fields]]:
    yield "headGroupSpec", cluster["headGroupSpec"]["template"]
    for group in cluster.get("workerGroupSpecs", []):
        yield group["groupName"], group["template"]


def _variables(template: Fields) -> dict[str, str]:
    """Return the environment variables of Ray's container, which is the first."""
    return {entry["name"]: entry.get("value") or "" for entry in template["spec"]["containers"][0].get("env", [])}
