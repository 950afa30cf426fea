"""Describes what is wrong with a pod, and what pods without a node request together."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from serve_app.cluster.manifests import Fields, Manifest

STUCK = (
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)
"""Reasons for which a container waits, and that do not go away by themselves."""


@dataclass(frozen=True)
class Failure:
    """Why something will not run, as a sentence. `container`, if any, is the one of `pod` whose log says more."""

    text: str
    pod: str = ""
    container: str | None = None


def pod_failure(pod: Manifest) -> Failure | None:
    """Return the failure of the first container that cannot start or keeps crashing, or of the pod, or None."""
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    for entry in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (entry.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason == "CrashLoopBackOff":
            return Failure(f"Pod/{name}, container {entry['name']}: {_crash(entry)}.", name, entry["name"])
        if reason in STUCK:
            message = str(waiting.get("message") or "no reason given").rstrip(".")
            return Failure(f"Pod/{name}, container {entry['name']}: {reason}: {message}.", name)
    if status.get("phase") == "Failed":
        containers = [entry["name"] for entry in status.get("containerStatuses") or []]
        message = status.get("message") or status.get("reason") or "a container ended with an error"
        return Failure(f"Pod/{name} failed: {str(message).rstrip('.')}.", name, containers[0] if containers else None)
    return None


def _crash(entry: Fields) -> str:
    last = (entry.get("lastState") or {}).get("terminated") or {}
    cause = f", the last time by {last.get('reason', 'Error')} (exit code {last.get('exitCode')})" if last else ""
    return f"CrashLoopBackOff: it ended {entry.get('restartCount', 0)} times{cause}"


def unschedulable_since(pod: Manifest) -> datetime | None:
    """Return since when the scheduler has found no node for the pod, or None if it has one."""
    condition = _scheduled(pod)
    if condition.get("status") == "False" and condition.get("reason") == "Unschedulable":
        return parsed_time(condition.get("lastTransitionTime")) or datetime.min.replace(tzinfo=UTC)
    return None


def scheduler_message(pod: Manifest) -> str:
    """Return the scheduler's message about the pod, such as `0/3 nodes are available: ...`."""
    return str(_scheduled(pod).get("message") or "no node fits").rstrip(".")


def _scheduled(pod: Manifest) -> Fields:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry.get("type") == "PodScheduled"), {})


def parsed_time(text: str | None) -> datetime | None:
    """Return a time that Kubernetes writes, or None if it is absent."""
    return datetime.fromisoformat(text) if text else None


def demand_and_supply(pods: list[Manifest], nodes: list[Manifest] | None) -> str:
    """Return in words what pods request and all nodes have, in use or not; `nodes` is None if they may not be listed.

    For example `2 pods ask for 8 nvidia.com/gpu, 16 cpu; all nodes together have 4 nvidia.com/gpu, 64 cpu`.
    """
    demand = _requested(pods)
    order = sorted(demand, key=lambda name: (not name.endswith(("/gpu", "/tpu")), name))
    amounts = ", ".join(_amount(name, demand[name]) for name in order) or "no resources in particular"
    sentence = f"{'1 pod asks' if len(pods) == 1 else f'{len(pods)} pods ask'} for {amounts}"
    if nodes is None:
        return f"{sentence}; the nodes may not be listed"
    supply = _allocatable(nodes)
    available = ", ".join(_amount(name, supply.get(name, Decimal(0))) for name in order)
    return f"{sentence}; all nodes together have {available}"


def _requested(pods: Iterable[Manifest]) -> dict[str, Decimal]:
    """Return the sum of what the pods' containers request, by resource."""
    total: dict[str, Decimal] = {}
    for pod in pods:
        for container in pod["spec"]["containers"]:
            resources = container.get("resources") or {}
            _add(total, (resources.get("limits") or {}) | (resources.get("requests") or {}))
    return total


def _allocatable(nodes: Iterable[Manifest]) -> dict[str, Decimal]:
    """Return the sum of what the nodes that take pods have, by resource."""
    total: dict[str, Decimal] = {}
    for node in nodes:
        if not (node.get("spec") or {}).get("unschedulable"):
            _add(total, (node.get("status") or {}).get("allocatable") or {})
    return total


def _add(total: dict[str, Decimal], resources: Fields) -> None:
    from kubernetes.utils import parse_quantity

    for name, value in resources.items():
        total[name] = total.get(name, Decimal(0)) + parse_quantity(value)


def _amount(name: str, value: Decimal) -> str:
    if name in ("memory", "ephemeral-storage"):
        return f"{float(value) / 2**30:.4g} GiB {name}"
    return f"{float(value):.4g} {name}"
