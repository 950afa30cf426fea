"""Rules of KubeRay's operator (release 1.7) for the `rayClusterConfig` of a RayService that no schema states.

Fields that need a feature gate of the operator are taken as they are: whether it is on, manifests do not tell.
"""

import re
from collections.abc import Iterator

from serve_app.cluster.check.metadata_rules import label_faults
from serve_app.cluster.manifests import Fields
from serve_app.cluster.names import LABEL_LENGTH, is_label_value

TOKEN_RAY = (2, 52, 0)
"""The first version of Ray with token authentication."""
PROBE_RAY = (2, 53, 0)
"""The first version of Ray whose agent answers /api/healthz."""
PRIORITY_RAY = (2, 56, 0)
"""The first version of Ray whose autoscaler knows priorities of worker groups."""
AUTOSCALER_V2 = "RAY_enable_autoscaler_v2"
START_COMMAND = "KUBERAY_GEN_AUTOSCALER_START_CMD"
HEAD_PORTS = {"gcs-server", "dashboard", "client", "serve", "metrics"}
FAULT_TOLERANCE = ("ray.io/ft-enabled", "ray.io/external-storage-namespace")
"""Annotations that gcsFaultToleranceOptions replaces."""
REDIS_FIELDS = ("redisAddress", "redisUsername", "redisPassword", "externalStorageNamespace")


def cluster_faults(cluster: Fields, annotations: Fields) -> Iterator[str]:
    """Yield a sentence for each field that the operator would refuse or ignore; `annotations` are the RayService's."""
    yield from _authentication(cluster)
    if _version(cluster) < PROBE_RAY:
        yield "rayVersion: the probe /api/healthz needs 2.53.0 or later."
    if (cluster.get("upgradeStrategy") or {}).get("type"):
        yield "rayClusterConfig.upgradeStrategy: only for a RayCluster of its own; use spec.upgradeStrategy."
    yield from _head(cluster)
    yield from _fault_tolerance(cluster, annotations)
    yield from _autoscaler(cluster)
    yield from _groups(cluster)


def templates(cluster: Fields) -> Iterator[tuple[str, Fields]]:
    """Yield each pod template with the name of its group."""
    yield "headGroupSpec", cluster["headGroupSpec"]["template"]
    for group in cluster.get("workerGroupSpecs", []):
        yield group["groupName"], group["template"]


def variables(template: Fields) -> dict[str, str]:
    """Return the environment variables of Ray's container, which is the first."""
    return {entry["name"]: entry.get("value") or "" for entry in template["spec"]["containers"][0].get("env", [])}


def _version(cluster: Fields) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", cluster.get("rayVersion", ""))[:3])


def _authentication(cluster: Fields) -> Iterator[str]:
    options = cluster.get("authOptions", {})
    if options.get("secretName") and options.get("mode") != "token":
        yield "authOptions.mode: without `token` authentication stays off."
    if options.get("mode") == "token" and _version(cluster) < TOKEN_RAY:
        yield "rayVersion: token authentication needs 2.52.0 or later."
    if options.get("enableK8sTokenAuth"):
        yield "authOptions.enableK8sTokenAuth: not for a RayService; use mode: token with a secretName."


def _head(cluster: Fields) -> Iterator[str]:
    head = cluster["headGroupSpec"]
    if head.get("headService", {}).get("metadata", {}).get("name"):
        yield "headGroupSpec.headService.metadata.name: must not be set."
    ports = {port.get("name") for port in head["template"]["spec"]["containers"][0].get("ports", [])}
    if ports and (missing := HEAD_PORTS - ports):
        yield f"headGroupSpec: if any port is named, all must be; missing: {', '.join(sorted(missing))}."
    yield from _group("head", head)


def _fault_tolerance(cluster: Fields, annotations: Fields) -> Iterator[str]:
    """Yield faults of how Ray's head keeps its state."""
    head = cluster["headGroupSpec"]
    parameters, environment = head.get("rayStartParams", {}), variables(head["template"])
    if parameters.get("redis-username") or "REDIS_USERNAME" in environment:
        yield "headGroupSpec: the user name for Redis belongs in gcsFaultToleranceOptions.redisUsername."
    options = cluster.get("gcsFaultToleranceOptions")
    if options is None:
        if "RAY_REDIS_ADDRESS" in environment and annotations.get(FAULT_TOLERANCE[0]) != "true":
            yield "headGroupSpec: RAY_REDIS_ADDRESS without gcsFaultToleranceOptions."
        return
    conflicts = [f"the annotation {name}" for name in FAULT_TOLERANCE if annotations.get(name)]
    conflicts += [name for name in ("RAY_REDIS_ADDRESS", "REDIS_PASSWORD") if name in environment]
    conflicts += ["redis-password in rayStartParams"] if parameters.get("redis-password") else []
    yield from (f"{conflict} beside gcsFaultToleranceOptions; only the latter may be used." for conflict in conflicts)
    if options.get("backend") == "rocksdb":
        if redis_fields := [name for name in REDIS_FIELDS if name in options]:
            yield f"gcsFaultToleranceOptions: {', '.join(redis_fields)} beside backend: rocksdb."
    elif "storage" in options:
        yield "gcsFaultToleranceOptions.storage: only for backend: rocksdb."


def _autoscaler(cluster: Fields) -> Iterator[str]:
    options, environment = cluster.get("autoscalerOptions", {}), variables(cluster["headGroupSpec"]["template"])
    if options.get("idleTimeoutSeconds", 0) < 0:
        yield "autoscalerOptions.idleTimeoutSeconds: must be 0 or more."
    if START_COMMAND in {entry["name"] for entry in options.get("env", [])}:
        yield f"autoscalerOptions.env: {START_COMMAND} is the operator's own."
    if not cluster.get("enableInTreeAutoscaling"):
        if environment.get(AUTOSCALER_V2) in ("1", "true"):
            yield f"headGroupSpec: {AUTOSCALER_V2} needs enableInTreeAutoscaling."
        return
    if "version" in options and AUTOSCALER_V2 in environment:
        yield f"headGroupSpec: {AUTOSCALER_V2} beside autoscalerOptions.version."
    if options.get("version") == "v2":
        for where, template in templates(cluster):
            if template["spec"].get("restartPolicy", "Never") != "Never":
                yield f"{where}.restartPolicy: must be Never or unset with autoscaler v2."


def _groups(cluster: Fields) -> Iterator[str]:
    groups = cluster.get("workerGroupSpecs", [])
    names = [group["groupName"] for group in groups]
    yield from (
        f"workerGroupSpecs: duplicate group {name!r}." for name in sorted({n for n in names if names.count(n) > 1})
    )
    for group in groups:
        if not is_label_value(group["groupName"]):
            yield f"workerGroupSpecs: groupName {group['groupName']!r} is a label: up to {LABEL_LENGTH} characters."
        yield from _bounds(group)
        yield from _scaling(group, cluster)
        yield from _group(group["groupName"], group)


def _bounds(group: Fields) -> Iterator[str]:
    name, least, most = group["groupName"], group["minReplicas"], group["maxReplicas"]
    if not 0 <= least <= most:
        yield f"{name}: minReplicas must be 0 or more, and at most maxReplicas; got {least} and {most}."
    elif not least <= group.get("replicas", least) <= most:
        yield f"{name}: replicas is outside of minReplicas to maxReplicas."


def _scaling(group: Fields, cluster: Fields) -> Iterator[str]:
    """Yield faults of fields that only the autoscaler reads, and of one that it does not bear."""
    name = group["groupName"]
    if group.get("suspend") and cluster.get("enableInTreeAutoscaling"):
        yield f"{name}.suspend: not with enableInTreeAutoscaling."
    if group.get("idleTimeoutSeconds", 0) < 0:
        yield f"{name}.idleTimeoutSeconds: must be 0 or more."
    used = [field for field in ("idleTimeoutSeconds", "priority") if group.get(field) is not None]
    used = [field for field in used if (field, group[field]) != ("priority", 0)]
    if used and not _has_v2(cluster):
        yield f"{name}: {', '.join(used)} needs autoscalerOptions.version: v2."
    if "priority" in used and _version(cluster) < PRIORITY_RAY:
        yield f"rayVersion: the priority of {name} needs 2.56.0 or later."


def _has_v2(cluster: Fields) -> bool:
    environment = variables(cluster["headGroupSpec"]["template"])
    return cluster.get("autoscalerOptions", {}).get("version") == "v2" or environment.get(AUTOSCALER_V2) in (
        "1",
        "true",
    )


def _group(name: str, group: Fields) -> Iterator[str]:
    parameters = {"num-cpus", "num-gpus", "memory", "resources"} & group.get("rayStartParams", {}).keys()
    if parameters and group.get("resources"):
        yield f"{name}: {', '.join(sorted(parameters))} in rayStartParams beside resources; only one may be used."
    if "labels" in group.get("rayStartParams", {}):
        yield f"{name}: labels do not belong in rayStartParams."
    yield from (f"{name}.labels: {sentence}" for sentence in label_faults(group.get("labels", {})))
