"""Read everything at one moment: the objects of the manifests, and the pods, events and nodes that explain them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from serve_app.cluster.live.client import Cluster
from serve_app.cluster.live.errors import RefusedError
from serve_app.cluster.live.pod_problems import parsed_time, unschedulable_since
from serve_app.cluster.manifests import Manifest, Ref, ref_of

RECENT = timedelta(minutes=2)
"""Operators and controllers retry within seconds, so an older event is about something that is over."""
PROMISES = ("TriggeredScaleUp", "Nominated")
"""Reasons of the events by which the cluster autoscaler and Karpenter promise a node to a pod."""


@dataclass(frozen=True)
class Snapshot:
    """What a cluster has at `now`, by its clock.

    `nodes` is None if they may not be listed, or if no pod waits for one; `forbidden` has the refusals of what may not
    be listed.
    """

    live: Mapping[Ref, Manifest | None]
    pods: Mapping[Ref, list[Manifest]]
    events: list[Manifest]
    nodes: list[Manifest] | None
    now: datetime
    forbidden: tuple[str, ...] = ()

    def events_about(self, names: set[str]) -> list[Manifest]:
        """Return the recent warnings about objects of these names, the oldest first."""
        events = [event for event in self.events if event["involvedObject"].get("name") in names]
        recent = [event for event in events if self.now - last_seen(event, self.now) < RECENT]
        return sorted(recent, key=lambda event: last_seen(event, self.now))


def last_seen(event: Manifest, now: datetime) -> datetime:
    """Return when an event was last seen; `now` if it has no time."""
    series = event.get("series") or {}
    return (
        parsed_time(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime"))
        or parsed_time(event["metadata"].get("creationTimestamp"))
        or now
    )


def take(cluster: Cluster, objects: Sequence[Manifest]) -> Snapshot:
    """Read the objects, which have their namespaces. What may not be listed is noted and left out."""
    forbidden: list[str] = []

    def listed(kind: str, namespace: str | None, **selectors: str) -> list[Manifest] | None:
        return _unless_forbidden(lambda: cluster.list_objects("v1", kind, namespace, **selectors), forbidden)

    refs = [ref_of(body) for body in objects]
    live = {ref: cluster.get(ref) for ref in refs}
    pods = {}
    for ref, body in live.items():
        selector = _pod_selector(ref, body)
        pods[ref] = (listed("Pod", ref.namespace, label_selector=selector) or []) if selector else []
    namespaces = sorted({ref.namespace for ref in refs if ref.namespace})
    events = [event for name in namespaces for event in listed("Event", name, field_selector="type!=Normal") or []]
    # An autoscaler's promise is a normal event, and requested only if a pod waits for it.
    has_waiting = any(unschedulable_since(pod) for group in pods.values() for pod in group)
    if has_waiting:
        for name in namespaces:
            for reason in PROMISES:
                events += listed("Event", name, field_selector=f"reason={reason}") or []
    nodes = listed("Node", None) if has_waiting else []
    return Snapshot(live, pods, events, nodes, cluster.now, tuple(sorted(set(forbidden))))


def _pod_selector(ref: Ref, body: Manifest | None) -> str | None:
    if body is None:
        return None
    if ref.kind == "RayService":
        clusters = [name for name in cluster_names(body) if name]
        return f"ray.io/cluster in ({','.join(clusters)})" if clusters else None
    return f"job-name={ref.name}" if ref.kind == "Job" else None


def cluster_names(ray_service: Manifest) -> tuple[str, str]:
    """Return the names of the active and the pending RayCluster, each empty if there is none."""
    status = ray_service.get("status") or {}
    active, pending = (
        str((status.get(f"{role}ServiceStatus") or {}).get("rayClusterName") or "") for role in ("active", "pending")
    )
    return active, pending


def _unless_forbidden(request: Callable[[], list[Manifest]], forbidden: list[str]) -> list[Manifest] | None:
    try:
        return request()
    except RefusedError as error:
        if error.status != 403:
            raise
        forbidden.append(str(error))
        return None
