"""What is wrong with a pod, and what the pods that find no node ask for together."""

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
"""Reasons that a container waits for, and that time does not mend."""


@dataclass(frozen=True)
class Trouble:
    """Why something will not run, in a sentence; `container` is whose last log lines say more."""

    text: str
    pod: str = ""
    container: str | None = None


def trouble(pod: Manifest) -> Trouble | None:
    """The first container that cannot start or keeps crashing."""
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    for entry in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (entry.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason == "CrashLoopBackOff":
            return Trouble(f"Pod/{name}, container {entry['name']}: {_crashed(entry)}.", name, entry["name"])
        if reason in STUCK:
            said = str(waiting.get("message") or "no reason given").rstrip(".")
            return Trouble(f"Pod/{name}, container {entry['name']}: {reason}: {said}.", name)
    if status.get("phase") == "Failed":
        containers = [entry["name"] for entry in status.get("containerStatuses") or []]
        said = status.get("message") or status.get("reason") or "a container ended with an error"
        return Trouble(f"Pod/{name} failed: {str(said).rstrip('.')}.", name, containers[0] if containers else None)
    return None


def _crashed(entry: Fields) -> str:
    last = (entry.get("lastState") or {}).get("terminated") or {}
    why = f", the last time by {last.get('reason', 'Error')} (exit code {last.get('exitCode')})" if last else ""
    return f"CrashLoopBackOff: it ended {entry.get('restartCount', 0)} times{why}"


def unschedulable_since(pod: Manifest) -> datetime | None:
    """Since when the scheduler has found no node for it."""
    condition = _scheduled(pod)
    if condition.get("status") == "False" and condition.get("reason") == "Unschedulable":
        return moment(condition.get("lastTransitionTime")) or datetime.min.replace(tzinfo=UTC)
    return None


def scheduler_says(pod: Manifest) -> str:
    """The scheduler's message, `0/3 nodes are available: ...`."""
    return str(_scheduled(pod).get("message") or "no node fits").rstrip(".")


def _scheduled(pod: Manifest) -> Fields:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry.get("type") == "PodScheduled"), {})


def moment(text: str | None) -> datetime | None:
    """A Kubernetes time."""
    return datetime.fromisoformat(text) if text else None


def asked(pods: Iterable[Manifest]) -> dict[str, Decimal]:
    """The sum of what the pods' containers request, by resource."""
    total: dict[str, Decimal] = {}
    for pod in pods:
        for container in pod["spec"]["containers"]:
            resources = container.get("resources") or {}
            _add(total, (resources.get("limits") or {}) | (resources.get("requests") or {}))
    return total


def allocatable(nodes: Iterable[Manifest]) -> dict[str, Decimal]:
    """The sum of what the nodes that take pods have, used or not, by resource."""
    total: dict[str, Decimal] = {}
    for node in nodes:
        if not (node.get("spec") or {}).get("unschedulable"):
            _add(total, (node.get("status") or {}).get("allocatable") or {})
    return total


def _add(total: dict[str, Decimal], resources: Fields) -> None:
    from kubernetes.utils import parse_quantity

    for name, value in resources.items():
        total[name] = total.get(name, Decimal(0)) + parse_quantity(value)


def the_sum(pods: list[Manifest], nodes: list[Manifest] | None) -> str:
    """`2 pods ask for 8 nvidia.com/gpu, 16 cpu; all nodes together have 4 nvidia.com/gpu, 64 cpu`, whatever is in use.

    `nodes` is None where we may not see them.
    """
    wanted = asked(pods)
    order = sorted(wanted, key=lambda name: (not name.endswith(("/gpu", "/tpu")), name))
    amounts = ", ".join(_amount(name, wanted[name]) for name in order) or "no resources in particular"
    said = f"{'1 pod asks' if len(pods) == 1 else f'{len(pods)} pods ask'} for {amounts}"
    if nodes is None:
        return f"{said}; what the nodes have is not ours to see"
    have = allocatable(nodes)
    return f"{said}; all nodes together have {', '.join(_amount(name, have.get(name, Decimal(0))) for name in order)}"


def _amount(name: str, value: Decimal) -> str:
    if name in ("memory", "ephemeral-storage"):
        return f"{float(value) / 2**30:.4g} GiB {name}"
    return f"{float(value):.4g} {name}"
