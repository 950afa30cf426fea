"""Report what runs: every object of the manifests, and of a RayService its clusters, applications and deployments."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from serve_app.cluster.live.client import Cluster
from serve_app.cluster.live.errors import redacted
from serve_app.cluster.live.readiness import State, state_of
from serve_app.cluster.live.snapshot import Snapshot, take
from serve_app.cluster.manifests import Fields, Manifest, Ref

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

ROLES = ("active", "pending")


@dataclass(frozen=True)
class DeploymentStatus:
    """A deployment as Serve reports it."""

    status: str | None
    message: str


@dataclass(frozen=True)
class ApplicationStatus:
    """An application as Serve reports it, and its deployments by name."""

    status: str | None
    message: str
    deployments: Mapping[str, DeploymentStatus]


@dataclass(frozen=True)
class ClusterStatus:
    """A RayCluster of a RayService.

    `gpus_desired` is a quantity or None; `traffic_percent` is None unless an upgrade moves the traffic.
    """

    name: str
    state: str | None
    workers_ready: int
    workers_desired: int
    gpus_desired: str | int | None
    traffic_percent: int | None
    applications: Mapping[str, ApplicationStatus]


@dataclass(frozen=True)
class ServiceStatus:
    """What a RayService has beside the state that every object has; clusters are by role, `active` and `pending`."""

    endpoints: int
    clusters: Mapping[str, ClusterStatus | None]


@dataclass(frozen=True)
class ObjectStatus:
    """The state of one object. `service` is None unless it is a live RayService."""

    ref: Ref
    exists: bool
    ready: bool
    missing: tuple[str, ...]
    failure: str | None
    service: ServiceStatus | None = None

    @property
    def word(self) -> str:
        """Return the state in a word or two."""
        if self.ready:
            return "ready"
        if not self.exists:
            return "absent"
        return "failing" if self.failure else "not ready"

    @property
    def explanation(self) -> str:
        """Return why it is not ready, or an empty string if it is."""
        waits = f"waits for {', '.join(self.missing)}" if self.missing and self.exists else ""
        return self.failure or waits


@dataclass(frozen=True)
class Status:
    """The state of everything now. `not_seen` has the refusals of what may not be listed."""

    context: str
    objects: tuple[ObjectStatus, ...]
    not_seen: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Return whether every object is ready."""
        return all(entry.ready for entry in self.objects)

    def to_json(self) -> dict[str, Any]:
        """Return the status as a JSON object."""
        objects = [_object_json(entry) for entry in self.objects]
        return {"context": self.context, "ready": self.ready, "objects": objects, "not_seen": list(self.not_seen)}


def _object_json(entry: ObjectStatus) -> dict[str, Any]:
    ref = {"kind": entry.ref.kind, "name": entry.ref.name, "namespace": entry.ref.namespace}
    state = {"exists": entry.exists, "ready": entry.ready, "missing": list(entry.missing), "failure": entry.failure}
    return ref | state | (asdict(entry.service) if entry.service else {})


def status(cluster: Cluster, objects: Sequence[Manifest], unschedulable_s: float) -> Status:
    """Return the state of all objects. A pod may lack a node for `unschedulable_s` seconds before that is a failure."""
    objects = [cluster.namespaced(body) for body in objects]
    snapshot = take(cluster, objects)
    states = [state_of(body, snapshot, timedelta(seconds=unschedulable_s)) for body in objects]
    return Status(cluster.context, tuple(_object(state, snapshot) for state in states), snapshot.forbidden)


def _object(state: State, snapshot: Snapshot) -> ObjectStatus:
    live = snapshot.live[state.ref]
    return ObjectStatus(
        ref=state.ref,
        exists=live is not None,
        ready=state.ready,
        missing=state.missing,
        failure=redacted(state.failure.text) if state.failure else None,
        service=_service(live.get("status") or {}) if live and state.ref.kind == "RayService" else None,
    )


def _service(body: Fields) -> ServiceStatus:
    clusters = {role: _cluster(body.get(f"{role}ServiceStatus") or {}) for role in ROLES}
    return ServiceStatus(body.get("numServeEndpoints", 0), clusters)


def _cluster(body: Fields) -> ClusterStatus | None:
    if not body.get("rayClusterName"):
        return None
    ray = body.get("rayClusterStatus") or {}
    applications = body.get("applicationStatuses") or {}
    return ClusterStatus(
        name=body["rayClusterName"],
        state=ray.get("state"),
        workers_ready=ray.get("readyWorkerReplicas", ray.get("availableWorkerReplicas", 0)),
        workers_desired=ray.get("desiredWorkerReplicas", 0),
        gpus_desired=ray.get("desiredGPU"),
        traffic_percent=body.get("trafficRoutedPercent"),
        applications={name: _application(entry) for name, entry in applications.items()},
    )


def _application(body: Fields) -> ApplicationStatus:
    deployments = {
        name: DeploymentStatus(entry.get("status"), redacted(entry.get("message") or ""))
        for name, entry in (body.get("serveDeploymentStatuses") or {}).items()
    }
    return ApplicationStatus(body.get("status"), redacted(body.get("message") or ""), deployments)


def render(report: Status, console: "Console") -> None:
    """Print the status as tables."""
    from rich.table import Table
    from rich.text import Text

    table = Table("object", "namespace", "state", "what", box=None, pad_edge=False)
    for entry in report.objects:
        table.add_row(*map(Text, (str(entry.ref), entry.ref.namespace or "", entry.word, entry.explanation)))
    console.print(table)
    for service in (entry.service for entry in report.objects if entry.service):
        for role, ray in service.clusters.items():
            if ray:
                console.print()
                console.print(Text(_headline(role, ray, service.endpoints)))
                console.print(_applications(ray))
    for refusal in report.not_seen:
        console.print(Text(f"\nNot seen: {refusal}"))


def _headline(role: str, ray: ClusterStatus, endpoints: int) -> str:
    parts = [f"{role} cluster {ray.name}: {ray.state or 'no state yet'}"]
    parts.append(f"{ray.workers_ready} of {ray.workers_desired} workers")
    if ray.gpus_desired not in (None, "0", 0):
        parts.append(f"{ray.gpus_desired} GPUs")
    if role == "active":
        parts.append(f"{endpoints} endpoints")
    if ray.traffic_percent is not None:
        parts.append(f"{ray.traffic_percent}% of the traffic")
    return ", ".join(parts)


def _applications(ray: ClusterStatus) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table("application", "deployment", "status", "message", box=None, pad_edge=False)
    for name, application in ray.applications.items():
        table.add_row(*map(Text, (name, "", str(application.status), application.message)))
        for part, deployment in application.deployments.items():
            table.add_row(*map(Text, ("", part, str(deployment.status), deployment.message)))
    return table
