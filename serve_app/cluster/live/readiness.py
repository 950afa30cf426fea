"""Whether an object does what it is for: a pure judgement of one look at the cluster."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import yaml

from serve_app.cluster.live.pod_problems import Trouble, scheduler_says, the_sum, trouble, unschedulable_since
from serve_app.cluster.live.snapshot import Look, cluster_names
from serve_app.cluster.manifests import Fields, Manifest, Ref, ref_of

FINAL = ("ValidationFailed", "InitializingTimeout")
"""Reasons of Ready=False that KubeRay does not come back from by itself."""
REFUSED_PODS = ("exceeded quota", "denied the request")


@dataclass(frozen=True)
class State:
    """`missing` is empty when it is ready; `failure` says that waiting will not help."""

    ref: Ref
    missing: list[str] = field(default_factory=list)
    failure: Trouble | None = None

    @property
    def ready(self) -> bool:
        """Nothing is missing, nothing failed."""
        return not self.missing and self.failure is None


def judge(body: Manifest, seen: Look, patience: timedelta) -> State:
    """The state of the object that a manifest describes. `patience` is how long a pod may be without a node."""
    ref = ref_of(body)
    live = seen.live[ref]
    if live is None:
        # A finished Job with a time to live is removed, and has done its work.
        return State(ref) if body.get("spec", {}).get("ttlSecondsAfterFinished") is not None else _absent(ref)
    if live["metadata"].get("deletionTimestamp"):
        return State(ref, ["the end of its deletion"])
    judged = {"RayService": _ray_service, "Job": _job, "PersistentVolumeClaim": _claim}.get(ref.kind)
    return judged(ref, body, live, seen, patience) if judged else State(ref)


def _absent(ref: Ref) -> State:
    return State(ref, failure=Trouble("it is not there: apply it first."))


def _claim(ref: Ref, body: Manifest, live: Manifest, seen: Look, patience: timedelta) -> State:
    phase = (live.get("status") or {}).get("phase", "Pending")
    if phase == "Lost":
        return State(ref, failure=Trouble("it has lost its volume."))
    return State(ref) if phase == "Bound" else State(ref, [f"a volume (it is {phase})"])


def _job(ref: Ref, body: Manifest, live: Manifest, seen: Look, patience: timedelta) -> State:
    status = live.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or [] if c.get("status") == "True"}
    if "Complete" in conditions:
        return State(ref)
    pods = seen.pods[ref]
    if failed := conditions.get("Failed"):
        found = next(filter(None, map(trouble, pods)), None)
        said = f"it failed: {str(failed.get('message') or failed.get('reason')).rstrip('.')}."
        return State(ref, failure=Trouble(said, found.pod if found else "", found.container if found else None))
    # A failed pod is tried again by the Job; one that cannot even start is not.
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") != "Failed"]
    failure = _pods_failure(running, {ref.name}, seen, patience)
    return State(ref, [f"the Job's end ({status.get('active', 0)} pods at work)"], failure)


def _ray_service(ref: Ref, body: Manifest, live: Manifest, seen: Look, patience: timedelta) -> State:
    status = live.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    generation = live["metadata"].get("generation", 0)
    if final := _final(conditions.get("Ready"), generation):
        return State(ref, failure=Trouble(f"KubeRay says {final}."))
    if live["spec"].get("suspend"):
        return State(ref, failure=Trouble("it is suspended (spec.suspend), so nothing will run."))
    current = (status.get("observedGeneration") or 0) >= generation
    active, pending = cluster_names(live)
    missing = [] if current else [f"KubeRay to take up generation {generation}"]
    missing += _not_true(conditions, active, pending)
    which = "pending" if pending else "active"
    applications = (status.get(f"{which}ServiceStatus") or {}).get("applicationStatuses") or {}
    missing += _applications(live, applications)
    if not status.get("numServeEndpoints"):
        missing.append("a ready endpoint")
    failure = _deploy_failed(applications) if current else None
    # While an upgrade goes on, the old cluster's pods may do as they like.
    pods = [pod for pod in seen.pods[ref] if _cluster_of(pod) == (pending or active)]
    if missing and not failure:
        failure = _pods_failure(pods, {ref.name, pending or active}, seen, patience)
    return State(ref, missing, failure)


def _cluster_of(pod: Manifest) -> str:
    return str((pod["metadata"].get("labels") or {}).get("ray.io/cluster"))


def _final(ready: Fields | None, generation: int) -> str | None:
    """KubeRay's last word. A refused spec is never "observed", so only the condition's own generation counts."""
    if not ready or ready.get("status") != "False" or ready.get("reason") not in FINAL:
        return None
    if ready.get("observedGeneration", generation) < generation:
        return None
    return f"{ready['reason']}: {str(ready.get('message') or 'no reason given').rstrip('.')}"


def _not_true(conditions: dict[str, Fields], active: str, pending: str) -> list[str]:
    missing = []
    ready = conditions.get("Ready") or {}
    if ready.get("status") != "True":
        missing.append(f"Ready ({ready.get('reason') or 'no word from KubeRay yet'})")
    if active and pending:
        missing.append(f"the upgrade's end ({active} serves, {pending} comes)")
    elif (conditions.get("UpgradeInProgress") or {}).get("status") == "True":
        missing.append("the upgrade's end")
    elif not active:
        missing.append(f"the cluster ({pending})" if pending else "a cluster")
    return missing


def _applications(live: Manifest, applications: Fields) -> list[str]:
    missing = []
    for name in sorted({*_configured(live), *applications}):
        entry = applications.get(name) or {}
        if entry.get("status") != "RUNNING":
            missing.append(f"application {name} ({entry.get('status') or 'not deployed yet'}{_slow(entry)})")
    return missing or ([] if applications else ["applications"])


def _slow(entry: Fields) -> str:
    """The deployments that an application waits for."""
    deployments = entry.get("serveDeploymentStatuses") or {}
    waiting = [f"{name} {d.get('status')}" for name, d in sorted(deployments.items()) if d.get("status") != "HEALTHY"]
    return f": {', '.join(waiting)}" if waiting else ""


def _configured(live: Manifest) -> list[str]:
    """Application names in `serveConfigV2`, which Serve reports once it knows them."""
    try:
        values: Any = yaml.safe_load(live["spec"].get("serveConfigV2") or "")
    except yaml.YAMLError:
        return []
    entries = values.get("applications") if isinstance(values, dict) else None
    return [str(entry.get("name", "default")) for entry in entries or [] if isinstance(entry, dict)]


def _deploy_failed(applications: Fields) -> Trouble | None:
    for name, entry in sorted(applications.items()):
        if entry.get("status") == "DEPLOY_FAILED":
            said = [str(entry.get("message") or "").strip()]
            for deployment, value in sorted((entry.get("serveDeploymentStatuses") or {}).items()):
                if value.get("status") in ("DEPLOY_FAILED", "UNHEALTHY") and value.get("message"):
                    said.append(f"{deployment}: {value['message'].strip()}")
            text = "\n".join(filter(None, said)) or "no reason given"
            return Trouble(f"Serve could not deploy application {name}: {text}")
    return None


def _pods_failure(pods: list[Manifest], names: set[str], seen: Look, patience: timedelta) -> Trouble | None:
    if found := next(filter(None, map(trouble, pods)), None):
        return found
    for event in reversed(seen.events_of(names)):
        said = str(event.get("message"))
        if any(words in said for words in REFUSED_PODS):
            return Trouble(f"its pods are refused ({event.get('reason')}): {said.rstrip('.')}.")
    return _homeless(pods, seen, patience)


def _homeless(pods: list[Manifest], seen: Look, patience: timedelta) -> Trouble | None:
    """Pods that have had no node for longer than `patience`, unless an autoscaler has promised one."""
    promised = {e["involvedObject"].get("name") for e in seen.events if e.get("reason") == "TriggeredScaleUp"}
    waiting = [pod for pod in pods if _waits(unschedulable_since(pod), seen.now, patience)]
    if not waiting or all(pod["metadata"]["name"] in promised for pod in waiting):
        return None
    return Trouble(
        f"no node for {', '.join(pod['metadata']['name'] for pod in waiting)}: {scheduler_says(waiting[0])}. "
        f"{the_sum(waiting, seen.nodes)}."
    )


def _waits(since: datetime | None, now: datetime, patience: timedelta) -> bool:
    return since is not None and now - since >= patience
