"""What runs: every object of the manifests, and of a RayService its clusters, applications and deployments."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from serve_app.cluster.live.client import Cluster
from serve_app.cluster.live.errors import redacted
from serve_app.cluster.live.readiness import State, judge
from serve_app.cluster.live.snapshot import Look, look
from serve_app.cluster.manifests import Fields, Manifest

if TYPE_CHECKING:
    from rich.console import Console

WHICH = ("active", "pending")


def status(cluster: Cluster, objects: Sequence[Manifest], unschedulable_s: float) -> Fields:
    """The state of everything now, as JSON: `ready`, and for every object what is missing and what failed."""
    objects = [cluster.namespaced(body) for body in objects]
    seen = look(cluster, objects)
    states = [judge(body, seen, timedelta(seconds=unschedulable_s)) for body in objects]
    return {
        "context": cluster.context,
        "ready": all(state.ready for state in states),
        "objects": [_object(state, seen) for state in states],
        "not_seen": seen.blind,
    }


def _object(state: State, seen: Look) -> Fields:
    live = seen.live[state.ref]
    body: Fields = {
        "kind": state.ref.kind,
        "name": state.ref.name,
        "namespace": state.ref.namespace,
        "exists": live is not None,
        "ready": state.ready,
        "missing": state.missing,
        "failure": redacted(state.failure.text) if state.failure else None,
    }
    if state.ref.kind == "RayService" and live:
        told = live.get("status") or {}
        body["endpoints"] = told.get("numServeEndpoints", 0)
        body["clusters"] = {which: _cluster(told.get(f"{which}ServiceStatus") or {}) for which in WHICH}
    return body


def _cluster(told: Fields) -> Fields | None:
    if not told.get("rayClusterName"):
        return None
    ray = told.get("rayClusterStatus") or {}
    return {
        "name": told["rayClusterName"],
        "state": ray.get("state"),
        "workers_ready": ray.get("readyWorkerReplicas", ray.get("availableWorkerReplicas", 0)),
        "workers_desired": ray.get("desiredWorkerReplicas", 0),
        "gpus_desired": ray.get("desiredGPU"),
        "traffic_percent": told.get("trafficRoutedPercent"),
        "applications": {name: _application(entry) for name, entry in (told.get("applicationStatuses") or {}).items()},
    }


def _application(entry: Fields) -> Fields:
    return {
        "status": entry.get("status"),
        "message": redacted(entry.get("message") or ""),
        "deployments": {
            name: {"status": value.get("status"), "message": redacted(value.get("message") or "")}
            for name, value in (entry.get("serveDeploymentStatuses") or {}).items()
        },
    }


def render(body: Fields, console: "Console") -> None:
    """The same as tables."""
    from rich.table import Table
    from rich.text import Text

    table = Table("object", "namespace", "state", "what", box=None, pad_edge=False)
    for entry in body["objects"]:
        table.add_row(
            *map(Text, (f"{entry['kind']}/{entry['name']}", entry["namespace"] or "", _state(entry), _what(entry)))
        )
    console.print(table)
    for entry in body["objects"]:
        for which, ray in (entry.get("clusters") or {}).items():
            if ray:
                console.print()
                console.print(Text(_headline(which, ray, entry)))
                console.print(_applications(ray))
    for words in body["not_seen"]:
        console.print(Text(f"\nNot seen: {words}"))


def _state(entry: Fields) -> str:
    if entry["ready"]:
        return "ready"
    if not entry["exists"]:
        return "absent"
    return "failing" if entry["failure"] else "not ready"


def _what(entry: Fields) -> str:
    return entry["failure"] or (
        f"waits for {', '.join(entry['missing'])}" if entry["missing"] and entry["exists"] else ""
    )


def _headline(which: str, ray: Fields, entry: Fields) -> str:
    parts = [f"{which} cluster {ray['name']}: {ray['state'] or 'no state yet'}"]
    parts.append(f"{ray['workers_ready']} of {ray['workers_desired']} workers")
    if ray["gpus_desired"] not in (None, "0", 0):
        parts.append(f"{ray['gpus_desired']} GPUs")
    if which == "active":
        parts.append(f"{entry['endpoints']} endpoints")
    if ray["traffic_percent"] is not None:
        parts.append(f"{ray['traffic_percent']}% of the traffic")
    return ", ".join(parts)


def _applications(ray: Fields) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("application", "deployment", "status", "message", box=None, pad_edge=False)
    for name, application in ray["applications"].items():
        table.add_row(*map(Text, (name, "", str(application["status"]), application["message"])))
        for part, value in application["deployments"].items():
            table.add_row(*map(Text, ("", part, str(value["status"]), value["message"])))
    return table
