"""One look at the cluster: the objects of the manifests, and the pods, events and nodes that explain them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from serve_app.cluster.live.client import Cluster
from serve_app.cluster.live.errors import RefusedError
from serve_app.cluster.live.pod_problems import moment, unschedulable_since
from serve_app.cluster.manifests import Fields, Manifest, Ref, ref_of

RECENT = timedelta(minutes=2)
"""An operator or controller tries again within seconds, so an older event is about something that is over."""


@dataclass(frozen=True)
class Look:
    """What was seen. `nodes` is None where they may not be listed; `blind` says what else may not be."""

    live: dict[Ref, Manifest | None]
    pods: dict[Ref, list[Manifest]]
    events: list[Manifest]
    nodes: list[Manifest] | None
    now: datetime
    blind: list[str] = field(default_factory=list)

    def events_of(self, names: set[str]) -> list[Fields]:
        """The recent warnings about these objects, the oldest first."""
        about = [event for event in self.events if event["involvedObject"].get("name") in names]
        return sorted(
            (event for event in about if self.now - when(event, self.now) < RECENT), key=lambda e: when(e, self.now)
        )


def when(event: Manifest, now: datetime) -> datetime:
    """When an event was last seen."""
    series = event.get("series") or {}
    return (
        moment(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime"))
        or moment(event["metadata"].get("creationTimestamp"))
        or now
    )


def look(cluster: Cluster, objects: Sequence[Manifest]) -> Look:
    """Look at all objects; what we may not list is noted and left out. `objects` have their namespaces."""
    blind: list[str] = []

    def listed(kind: str, namespace: str | None, **selectors: str) -> list[Manifest] | None:
        return _allowed(lambda: cluster.list_objects("v1", kind, namespace, **selectors), blind)

    refs = [ref_of(body) for body in objects]
    live = {ref: cluster.get(ref) for ref in refs}
    pods = {}
    for ref, body in live.items():
        selector = _pod_selector(ref, body)
        pods[ref] = (listed("Pod", ref.namespace, label_selector=selector) or []) if selector else []
    namespaces = sorted({ref.namespace for ref in refs if ref.namespace})
    events = [e for name in namespaces for e in listed("Event", name, field_selector="type!=Normal") or []]
    # An autoscaler's promise is a normal event, and asked for only where a pod waits for it.
    homeless = [pod for group in pods.values() for pod in group if unschedulable_since(pod)]
    if homeless:
        for name in namespaces:
            events += listed("Event", name, field_selector="reason=TriggeredScaleUp") or []
    nodes = listed("Node", None) if homeless else []
    return Look(live, pods, events, nodes, cluster.now, sorted(set(blind)))


def _pod_selector(ref: Ref, body: Manifest | None) -> str | None:
    if body is None:
        return None
    if ref.kind == "RayService":
        clusters = [name for name in cluster_names(body) if name]
        return f"ray.io/cluster in ({','.join(clusters)})" if clusters else None
    return f"job-name={ref.name}" if ref.kind == "Job" else None


def cluster_names(ray_service: Manifest) -> tuple[str, str]:
    """The names of the active and the pending RayCluster; empty where there is none."""
    status = ray_service.get("status") or {}
    active, pending = (
        str((status.get(f"{which}ServiceStatus") or {}).get("rayClusterName") or "") for which in ("active", "pending")
    )
    return active, pending


def _allowed(request: Callable[[], list[Manifest]], blind: list[str]) -> list[Fields] | None:
    try:
        return request()
    except RefusedError as error:
        if error.status != 403:
            raise
        blind.append(str(error))
        return None
