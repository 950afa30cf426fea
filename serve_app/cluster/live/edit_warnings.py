"""Warnings about edits that are ignored, refused, or need a second cluster with its GPUs.

By the rules of KubeRay 1.7, a live cluster ignores edits of replicas, of their bounds, and of tolerations; worker
groups added at the end join it; anything else in `rayClusterConfig` is an upgrade.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from serve_app.cluster.live.errors import RefusedError
from serve_app.cluster.manifests import Fields, Manifest, Ref, ref_of

REPLICAS = ("replicas", "minReplicas", "maxReplicas")
UNBOUNDED = 2**31 - 1
"""The definition's default for maxReplicas."""
ACCELERATORS = ("/gpu", "/tpu")
IMMUTABLE = {
    "Job": "A Job's template cannot change once it is created. "
    "Delete the Job (kubectl delete job {name}), then apply again.",
    "PersistentVolumeClaim": "A claim can only grow, and only if its storage class allows it: "
    "for anything else, delete it with its data, or give the new one another name.",
}


def advice(ref: Ref, error: RefusedError) -> str:
    """Return what to do about an edit of a field that cannot change; empty if the refusal is about something else."""
    is_immutable = error.status == 422 and any(word in str(error) for word in ("immutable", "forbidden", "Forbidden"))
    return IMMUTABLE.get(ref.kind, "").format(name=ref.name) if is_immutable else ""


def warnings(live: Manifest, result: Manifest) -> list[str]:
    """Return a sentence for each surprise in the change from `live` to `result`, two versions of one object."""
    ref = ref_of(result)
    if result["kind"] == "RayService":
        return [f"{ref}: {line}" for line in _ray_service(live, result)]
    if result["kind"] in ("ConfigMap", "Secret") and any(live.get(f) != result.get(f) for f in ("data", "binaryData")):
        return [f"{ref}: pods that read it into their environment keep the old values until they are restarted."]
    return []


def _ray_service(live: Manifest, result: Manifest) -> Iterator[str]:
    old, new = live["spec"].get("rayClusterConfig") or {}, result["spec"].get("rayClusterConfig") or {}
    is_upgrade = _upgraded_spec(old) != _upgraded_spec(_without_added_groups(old, new))
    if not is_upgrade:
        if ignored := _ignored(old, new):
            yield f"{', '.join(ignored)} will not take effect: a live cluster keeps its own."
        return
    strategy = (result["spec"].get("upgradeStrategy") or {}).get("type") or "NewCluster"
    if strategy == "None":
        yield "rayClusterConfig will not take effect: with upgradeStrategy.type None the cluster stays as it is."
        return
    yield _second_cluster(strategy, live, result)


def _second_cluster(strategy: str, live: Manifest, result: Manifest) -> str:
    in_use, (least, most) = _gpus_in_use(live), accelerators(result["spec"]["rayClusterConfig"])
    if not in_use and not most:
        return (
            f"rayClusterConfig changes: a second cluster is built beside the first ({strategy}), then the first goes."
        )
    if strategy == "NewClusterWithIncrementalUpgrade":
        surge = (result["spec"]["upgradeStrategy"].get("clusterUpgradeOptions") or {}).get("maxSurgePercent", 100)
        return (
            "rayClusterConfig changes: a second cluster grows by steps, "
            f"up to {surge}% beyond the first's {in_use} GPUs."
        )
    total = f"{in_use} + {least} = {in_use + least}" + (f", up to {in_use + most}" if most > least else "")
    return (
        f"rayClusterConfig changes, so a second cluster is built beside the first until it serves: "
        f"for a while both need GPUs, {total}."
    )


def _gpus_in_use(live: Manifest) -> int:
    """Return the GPUs of the cluster that serves now by its status, or else those that its spec starts with."""
    status = ((live.get("status") or {}).get("activeServiceStatus") or {}).get("rayClusterStatus") or {}
    if "desiredGPU" in status:
        return _whole(status["desiredGPU"])
    return accelerators(live["spec"].get("rayClusterConfig") or {})[0]


def accelerators(config: Fields) -> tuple[int, int]:
    """Return how many GPUs and TPUs a `rayClusterConfig` starts with, and how many it may grow to."""
    least = most = _of_pod(config.get("headGroupSpec") or {})
    for group in config.get("workerGroupSpecs") or []:
        per_replica = _of_pod(group) * int(group.get("numOfHosts") or 1)
        start = int(group.get("replicas") or group.get("minReplicas") or 0)
        least += per_replica * start
        bound = int(group.get("maxReplicas") or 0) if config.get("enableInTreeAutoscaling") else 0
        most += per_replica * (start if bound >= UNBOUNDED else max(start, bound))
    return least, most


def _of_pod(group: Fields) -> int:
    containers = ((group.get("template") or {}).get("spec") or {}).get("containers") or []
    limits = [(container.get("resources") or {}).get("limits") or {} for container in containers]
    return sum(_whole(value) for limit in limits for name, value in limit.items() if name.endswith(ACCELERATORS))


def _whole(value: Any) -> int:
    from kubernetes.utils import parse_quantity

    return int(parse_quantity(value))


def _upgraded_spec(config: Fields) -> Fields:
    """Return the part of a cluster's spec whose change is an upgrade."""
    config = deepcopy(config)
    config.pop("upgradeStrategy", None)
    for group in config.get("workerGroupSpecs") or []:
        for name in REPLICAS:
            group.pop(name, None)
        (group.get("scaleStrategy") or {}).pop("workersToDelete", None)
        if not group.get("scaleStrategy"):
            group.pop("scaleStrategy", None)
    for group in _groups(config):
        ((group.get("template") or {}).get("spec") or {}).pop("tolerations", None)
    return config


def _without_added_groups(old: Fields, new: Fields) -> Fields:
    groups = new.get("workerGroupSpecs") or []
    return new | {"workerGroupSpecs": groups[: len(old.get("workerGroupSpecs") or [])]} if groups else new


def _groups(config: Fields) -> list[Fields]:
    return [config.get("headGroupSpec") or {}, *(config.get("workerGroupSpecs") or [])]


def _ignored(old: Fields, new: Fields) -> list[str]:
    """Return the paths of edits that a live cluster ignores."""
    paths = []
    before = {group.get("groupName"): group for group in old.get("workerGroupSpecs") or []}
    for group in new.get("workerGroupSpecs") or []:
        if old_group := before.get(group.get("groupName")):
            paths += [f"{group['groupName']}.{name}" for name in REPLICAS if old_group.get(name) != group.get(name)]
    for old_group, group in zip(_groups(old), _groups(new), strict=False):
        if _tolerations(old_group) != _tolerations(group):
            paths.append(f"{group.get('groupName', 'head')}.tolerations")
    return paths


def _tolerations(group: Fields) -> Any:
    return ((group.get("template") or {}).get("spec") or {}).get("tolerations") or []
