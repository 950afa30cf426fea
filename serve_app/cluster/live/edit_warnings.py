"""What an edit will do beyond what it says: nothing at all, a second cluster with its GPUs, or a refusal.

After KubeRay 1.7: a live cluster takes no edit of replicas, of their bounds, or of tolerations; worker groups added at
the end join it; anything else in `rayClusterConfig` is an upgrade.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from serve_app.cluster.live.errors import RefusedError
from serve_app.cluster.manifests import Fields, Manifest, Ref

REPLICAS = ("replicas", "minReplicas", "maxReplicas")
UNBOUNDED = 2**31 - 1
"""What the CRD writes as maxReplicas where nobody did."""
ACCELERATORS = ("/gpu", "/tpu")
IMMUTABLE = {
    "Job": "A Job's template is fixed once it is made. Delete the Job (kubectl delete job {name}), then apply again.",
    "PersistentVolumeClaim": "A claim can only grow, and only where its storage class allows it: "
    "for anything else, delete it with its data, or give the new one another name.",
}


def advice(ref: Ref, error: RefusedError) -> str:
    """What to do about a refusal that says `immutable`; empty if there is nothing to add."""
    fixed = error.status == 422 and any(word in str(error) for word in ("immutable", "forbidden", "Forbidden"))
    return IMMUTABLE.get(ref.kind, "").format(name=ref.name) if fixed else ""


def warnings(live: Manifest, result: Manifest) -> list[str]:
    """Sentences about a change from `live` to `result`, both whole objects of the same name."""
    named = f"{result['kind']}/{result['metadata']['name']}"
    if result["kind"] == "RayService":
        return [f"{named}: {line}" for line in _ray_service(live, result)]
    if result["kind"] in ("ConfigMap", "Secret") and any(live.get(f) != result.get(f) for f in ("data", "binaryData")):
        return [f"{named}: pods that took it into their environment keep the old values until they are restarted."]
    return []


def _ray_service(live: Manifest, result: Manifest) -> Iterator[str]:
    old, new = live["spec"].get("rayClusterConfig") or {}, result["spec"].get("rayClusterConfig") or {}
    upgrade = _upgraded_spec(old) != _upgraded_spec(_without_added_groups(old, new))
    if not upgrade:
        if ignored := _ignored(old, new):
            yield f"{', '.join(ignored)} will not take effect: a live cluster keeps its own."
        return
    strategy = (result["spec"].get("upgradeStrategy") or {}).get("type") or "NewCluster"
    if strategy == "None":
        yield "rayClusterConfig will not take effect: with upgradeStrategy.type None the cluster stays as it is."
        return
    yield _second_cluster(strategy, live, result)


def _second_cluster(strategy: str, live: Manifest, result: Manifest) -> str:
    held, (least, most) = _held(live), accelerators(result["spec"]["rayClusterConfig"])
    if not held and not most:
        return (
            f"rayClusterConfig changes: a second cluster is built beside the first ({strategy}), then the first goes."
        )
    if strategy == "NewClusterWithIncrementalUpgrade":
        surge = (result["spec"]["upgradeStrategy"].get("clusterUpgradeOptions") or {}).get("maxSurgePercent", 100)
        return (
            f"rayClusterConfig changes: a second cluster grows by steps, up to {surge}% beyond the first's {held} GPUs."
        )
    total = f"{held} + {least} = {held + least}" + (f", up to {held + most}" if most > least else "")
    return (
        f"rayClusterConfig changes, so a second cluster is built beside the first until it serves: "
        f"for a while both need GPUs, {total}."
    )


def _held(live: Manifest) -> int:
    """GPUs of the cluster that serves now, by its status; else what its spec starts with."""
    status = ((live.get("status") or {}).get("activeServiceStatus") or {}).get("rayClusterStatus") or {}
    if "desiredGPU" in status:
        return _whole(status["desiredGPU"])
    return accelerators(live["spec"].get("rayClusterConfig") or {})[0]


def accelerators(config: Fields) -> tuple[int, int]:
    """GPUs and TPUs that a `rayClusterConfig` starts with, and may grow to."""
    least = most = _of_pod(config.get("headGroupSpec") or {})
    for group in config.get("workerGroupSpecs") or []:
        each = _of_pod(group) * int(group.get("numOfHosts") or 1)
        start = int(group.get("replicas") or group.get("minReplicas") or 0)
        least += each * start
        bound = int(group.get("maxReplicas") or 0) if config.get("enableInTreeAutoscaling") else 0
        most += each * (start if bound >= UNBOUNDED else max(start, bound))
    return least, most


def _of_pod(group: Fields) -> int:
    containers = ((group.get("template") or {}).get("spec") or {}).get("containers") or []
    limits = [(container.get("resources") or {}).get("limits") or {} for container in containers]
    return sum(_whole(value) for limit in limits for name, value in limit.items() if name.endswith(ACCELERATORS))


def _whole(value: Any) -> int:
    from kubernetes.utils import parse_quantity

    return int(parse_quantity(value))


def _upgraded_spec(config: Fields) -> Fields:
    """The part of a cluster's spec whose change is an upgrade."""
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
    """Paths of edits that a live cluster does not take."""
    found = []
    before = {group.get("groupName"): group for group in old.get("workerGroupSpecs") or []}
    for group in new.get("workerGroupSpecs") or []:
        if was := before.get(group.get("groupName")):
            found += [f"{group['groupName']}.{name}" for name in REPLICAS if was.get(name) != group.get(name)]
    for was, group in zip(_groups(old), _groups(new), strict=False):
        if _tolerations(was) != _tolerations(group):
            found.append(f"{group.get('groupName', 'head')}.tolerations")
    return found


def _tolerations(group: Fields) -> Any:
    return ((group.get("template") or {}).get("spec") or {}).get("tolerations") or []
