"""Decide whether an object does what it is for, from a snapshot alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import yaml

from serve_app.cluster.live.pod_problems import (
    Failure,
    demand_and_supply,
    pod_failure,
    scheduler_message,
    unschedulable_since,
)
from serve_app.cluster.live.snapshot import PROMISES, Snapshot, cluster_names
from serve_app.cluster.manifests import Fields, Manifest, Ref, ref_of

FINAL = ("ValidationFailed", "InitializingTimeout")
"""Reasons of Ready=False from which KubeRay does not recover by itself."""
REFUSED_PODS = ("exceeded quota", "denied the request")


@dataclass(frozen=True)
class State:
    """`missing` is empty if the object is ready; `failure` says why waiting will not help."""

    ref: Ref
    missing: tuple[str, ...] = ()
    failure: Failure | None = None

    @property
    def ready(self) -> bool:
        """Return whether nothing is missing and nothing failed."""
        return not self.missing and self.failure is None


def state_of(body: Manifest, snapshot: Snapshot, patience: timedelta) -> State:
    """Return the state of the object that a manifest describes. `patience` is how long a pod may lack a node."""
    ref = ref_of(body)
    live = snapshot.live[ref]
    if live is None:
        # A finished Job with a time to live is removed, and has done its work.
        is_removed = body.get("spec", {}).get("ttlSecondsAfterFinished") is not None
        return State(ref) if is_removed else State(ref, failure=Failure("it is absent: apply it first."))
    if live["metadata"].get("deletionTimestamp"):
        return State(ref, ("the end of its deletion",))
    states = {"RayService": _ray_service, "Job": _job, "PersistentVolumeClaim": _claim}
    return states[ref.kind](ref, live, snapshot, patience) if ref.kind in states else State(ref)


def _claim(ref: Ref, live: Manifest, snapshot: Snapshot, patience: timedelta) -> State:
    phase = (live.get("status") or {}).get("phase", "Pending")
    if phase == "Lost":
        return State(ref, failure=Failure("it has lost its volume."))
    return State(ref) if phase == "Bound" else State(ref, (f"a volume (it is {phase})",))


def _job(ref: Ref, live: Manifest, snapshot: Snapshot, patience: timedelta) -> State:
    status = live.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or [] if c.get("status") == "True"}
    if "Complete" in conditions:
        return State(ref)
    pods = snapshot.pods[ref]
    if condition := conditions.get("Failed"):
        return State(ref, failure=_failed_job(condition, pods))
    # The Job replaces a failed pod; one that cannot even start stays.
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") != "Failed"]
    failure = _pods_failure(running, {ref.name}, snapshot, patience)
    return State(ref, (f"the Job's end ({status.get('active', 0)} pods at work)",), failure)


def _failed_job(condition: Fields, pods: list[Manifest]) -> Failure:
    text = f"it failed: {str(condition.get('message') or condition.get('reason')).rstrip('.')}."
    cause = next(filter(None, map(pod_failure, pods)), None)
    return Failure(text, cause.pod, cause.container) if cause else Failure(text)


def _ray_service(ref: Ref, live: Manifest, snapshot: Snapshot, patience: timedelta) -> State:
    status = live.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    generation = live["metadata"].get("generation", 0)
    if final := _final(conditions.get("Ready"), generation):
        return State(ref, failure=Failure(f"KubeRay says {final}."))
    if live["spec"].get("suspend"):
        return State(ref, failure=Failure("it is suspended (spec.suspend), so nothing will run."))
    is_current = (status.get("observedGeneration") or 0) >= generation
    active, pending = cluster_names(live)
    role = "pending" if pending else "active"
    applications = (status.get(f"{role}ServiceStatus") or {}).get("applicationStatuses") or {}
    missing = [] if is_current else [f"KubeRay to take up generation {generation}"]
    missing += [*_not_true(conditions, active, pending), *_not_running(live, applications)]
    missing += [] if status.get("numServeEndpoints") else ["a ready endpoint"]
    failure = _deploy_failure(applications) if is_current else None
    # During an upgrade the old cluster's pods do not matter.
    pods = [pod for pod in snapshot.pods[ref] if _cluster_of(pod) == (pending or active)]
    if missing and not failure:
        failure = _pods_failure(pods, {ref.name, pending or active}, snapshot, patience)
    return State(ref, tuple(missing), failure)


def _cluster_of(pod: Manifest) -> str:
    return str((pod["metadata"].get("labels") or {}).get("ray.io/cluster"))


def _final(ready: Fields | None, generation: int) -> str | None:
    """Return KubeRay's final verdict, or None.

    A refused spec is never observed, so the generation of the condition counts.
    """
    if not ready or ready.get("status") != "False" or ready.get("reason") not in FINAL:
        return None
    if ready.get("observedGeneration", generation) < generation:
        return None
    return f"{ready['reason']}: {str(ready.get('message') or 'no reason given').rstrip('.')}"


def _not_true(conditions: dict[str, Fields], active: str, pending: str) -> list[str]:
    missing = []
    ready = conditions.get("Ready") or {}
    if ready.get("status") != "True":
        missing.append(f"Ready ({ready.get('reason') or 'KubeRay has not reported yet'})")
    if active and pending:
        missing.append(f"the upgrade's end ({active} serves, {pending} comes)")
    elif (conditions.get("UpgradeInProgress") or {}).get("status") == "True":
        missing.append("the upgrade's end")
    elif not active:
        missing.append(f"the cluster ({pending})" if pending else "a cluster")
    return missing


def _not_running(live: Manifest, applications: Fields) -> list[str]:
    missing = []
    for name in sorted({*_configured(live), *applications}):
        entry = applications.get(name) or {}
        if entry.get("status") != "RUNNING":
            missing.append(f"application {name} ({entry.get('status') or 'not deployed yet'}{_unhealthy(entry)})")
    return missing or ([] if applications else ["applications"])


def _unhealthy(application: Fields) -> str:
    """Return the deployments that an application waits for, after a colon."""
    deployments = sorted((application.get("serveDeploymentStatuses") or {}).items())
    names = [f"{name} {entry.get('status')}" for name, entry in deployments if entry.get("status") != "HEALTHY"]
    return f": {', '.join(names)}" if names else ""


def _configured(live: Manifest) -> list[str]:
    """Return the names of the applications in `serveConfigV2`; Serve reports them only once it has the config."""
    try:
        values: Any = yaml.safe_load(live["spec"].get("serveConfigV2") or "")
    except (yaml.YAMLError, ValueError, RecursionError):
        return []
    entries = values.get("applications") if isinstance(values, dict) else None
    return [str(entry.get("name", "default")) for entry in entries or [] if isinstance(entry, dict)]


def _deploy_failure(applications: Fields) -> Failure | None:
    for name, entry in sorted(applications.items()):
        if entry.get("status") == "DEPLOY_FAILED":
            messages = [str(entry.get("message") or "").strip()]
            for deployment, value in sorted((entry.get("serveDeploymentStatuses") or {}).items()):
                if value.get("status") in ("DEPLOY_FAILED", "UNHEALTHY") and value.get("message"):
                    messages.append(f"{deployment}: {value['message'].strip()}")
            text = "\n".join(filter(None, messages)) or "no reason given"
            return Failure(f"Serve could not deploy application {name}: {text}")
    return None


def _pods_failure(pods: list[Manifest], names: set[str], snapshot: Snapshot, patience: timedelta) -> Failure | None:
    """Return the first failure of the pods, of their creation by the objects of these names, or of scheduling."""
    if failure := next(filter(None, map(pod_failure, pods)), None):
        return failure
    for event in reversed(snapshot.events_about(names)):
        message = str(event.get("message"))
        if any(words in message for words in REFUSED_PODS):
            return Failure(f"its pods are refused ({event.get('reason')}): {message.rstrip('.')}.")
    return _unschedulable(pods, snapshot, patience)


def _unschedulable(pods: list[Manifest], snapshot: Snapshot, patience: timedelta) -> Failure | None:
    """Return a failure if pods have lacked a node for longer than `patience` and no autoscaler has promised one."""
    promises = [event for event in snapshot.events if event.get("reason") in PROMISES]
    promised = {event["involvedObject"].get("name") for event in promises}
    waiting = [pod for pod in pods if _is_overdue(unschedulable_since(pod), snapshot.now, patience)]
    names = [pod["metadata"]["name"] for pod in waiting]
    if promised.issuperset(names):
        return None
    return Failure(
        f"no node for {', '.join(names)}: {scheduler_message(waiting[0])}. "
        f"{demand_and_supply(waiting, snapshot.nodes)}."
    )


def _is_overdue(since: datetime | None, now: datetime, patience: timedelta) -> bool:
    return since is not None and now - since >= patience
