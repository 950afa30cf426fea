"""Wait until everything that was applied is ready; stop at once, with the reason, if it never will be."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from serve_app.cluster.live.client import TRANSIENT, Cluster
from serve_app.cluster.live.errors import RefusedError, UnreachableError, redacted
from serve_app.cluster.live.pod_problems import Failure
from serve_app.cluster.live.readiness import State, state_of
from serve_app.cluster.live.snapshot import Snapshot, last_seen, take
from serve_app.cluster.manifests import Manifest
from serve_app.errors import ClusterError

SHORTEST_POLL_S = 0.5
"""Between two snapshots, however fast the cluster changes."""
LOG_LINES = 15
EVENTS = 8


@dataclass(frozen=True)
class Patience:
    """Seconds: for all of it, between two snapshots, for a verdict to last, for a pod to find a node.

    A verdict must last: in one round KubeRay reads the states of the applications, then hands a changed config to
    Serve, then writes both the states and `observedGeneration`. So Serve has the config of that generation, but the
    states may be those of the config before, until the next round, 2 s later: from the moment that Serve has a config
    it reports DEPLOYING. Nothing in the status tells the rounds apart; that one fits into `settle_s` is an assumption.
    """

    timeout_s: float = 1800
    poll_s: float = 5
    settle_s: float = 5
    unschedulable_s: float = 60


def wait(cluster: Cluster, objects: Sequence[Manifest], patience: Patience, say: Callable[[str], None]) -> None:
    """Return once every object is ready, and report progress with `say`.

    Raises `ClusterError` for a failure, or with what is missing after `timeout_s`. An API server that does not answer
    is waited for.
    """
    objects = [cluster.namespaced(body) for body in objects]
    progress = _Progress(say)
    deadline = time.monotonic() + patience.timeout_s
    while True:
        started = time.monotonic()
        try:
            snapshot = take(cluster, objects)
        except (UnreachableError, RefusedError) as error:
            if isinstance(error, RefusedError) and error.status not in TRANSIENT:
                raise
            progress.lost(str(error))
            if started >= deadline:
                raise ClusterError(f"Not ready after {patience.timeout_s:g} s. {error}") from None
            time.sleep(min(SHORTEST_POLL_S, patience.poll_s))
            continue
        states = [state_of(body, snapshot, timedelta(seconds=patience.unschedulable_s)) for body in objects]
        progress.show(states)
        if progress.lasted_s(states) >= patience.settle_s:
            _raise_failures(cluster, states, snapshot)
            if all(state.ready for state in states):
                return
        if started >= deadline:
            raise ClusterError(redacted(_too_late(states, snapshot, patience.timeout_s)))
        _await_change(cluster, states, snapshot, min(patience.poll_s, deadline - started))
        time.sleep(max(0.0, min(SHORTEST_POLL_S, patience.poll_s) - (time.monotonic() - started)))


class _Progress:
    """Reports what changed, and measures for how long the verdict has been the same."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lines: dict[str, str] = {}
        self._verdict: object = None
        self._since = 0.0
        self._begun = time.monotonic()

    def show(self, states: Sequence[State]) -> None:
        """Report every object whose state is a new one."""
        for state in states:
            words = state.failure.text if state.failure else ", ".join(state.missing)
            line = f"{state.ref}: {'failing: ' if state.failure else 'waiting for ' if words else 'ready'}{words}"
            self._report(str(state.ref), line)

    def lost(self, sentence: str) -> None:
        """Report that the cluster does not answer. The verdict before that no longer counts."""
        self._report("", f"{sentence} Trying again.")
        self._verdict = None

    def lasted_s(self, states: Sequence[State]) -> float:
        """Return for how many seconds the same objects have been ready, and the same have failed."""
        verdict = [(state.ready, state.failure is not None) for state in states]
        if verdict != self._verdict:
            self._verdict, self._since = verdict, time.monotonic()
        return time.monotonic() - self._since

    def _report(self, key: str, line: str) -> None:
        """Print a line unless it repeats the last one under this key."""
        if self._lines.get(key) != line:
            self._lines[key] = line
            self._say(f"{time.monotonic() - self._begun:5.0f}s  {redacted(line)}")


def _await_change(cluster: Cluster, states: Sequence[State], snapshot: Snapshot, timeout_s: float) -> None:
    """Return when the RayService changes, or after `timeout_s`: other objects are not watched."""
    for state in states:
        live = snapshot.live[state.ref]
        if state.ref.kind == "RayService" and live and not state.ready and timeout_s >= 1:
            cluster.await_change(state.ref, live["metadata"].get("resourceVersion", ""), timeout_s)
            return
    time.sleep(max(0.0, timeout_s))


def _raise_failures(cluster: Cluster, states: Sequence[State], snapshot: Snapshot) -> None:
    """Raise `ClusterError` with every failure, each with the last log lines of its container."""
    failures = [(state.ref, state.failure) for state in states if state.failure]
    if failures:
        explained = (f"{ref}: {_explained(cluster, failure, snapshot.pods[ref])}" for ref, failure in failures)
        raise ClusterError(redacted("\n".join(explained)))


def _explained(cluster: Cluster, failure: Failure, pods: Sequence[Manifest]) -> str:
    if not failure.container:
        return failure.text
    namespace = next(pod["metadata"]["namespace"] for pod in pods if pod["metadata"]["name"] == failure.pod)
    problem = "Its log is empty."
    for previous in (True, False):
        try:
            lines = cluster.log_tail(namespace, failure.pod, failure.container, LOG_LINES, previous=previous)
        except ClusterError as error:
            problem = f"Its log could not be read: {error}"
            continue
        if lines:
            return "\n".join([failure.text, "  Its last log lines:", *(f"    {line}" for line in lines)])
    return f"{failure.text} {problem}"


def _too_late(states: Sequence[State], snapshot: Snapshot, timeout_s: float) -> str:
    """Return what is missing, what Serve reports, the last warnings, and what may not be listed, a line each."""
    lines = [f"Not ready after {timeout_s:g} s. Missing:"]
    for state in states:
        lines += [f"  {state.ref}: {', '.join(state.missing)}"] if state.missing else []
        lines += [f"  {state.ref}: {state.failure.text}"] if state.failure else []
    pods = [pod for group in snapshot.pods.values() for pod in group]
    pending = [pod["metadata"]["name"] for pod in pods if (pod.get("status") or {}).get("phase") == "Pending"]
    lines += [f"Pending pods: {', '.join(pending)}"] if pending else []
    for state in states:
        lines += _serve_messages(snapshot.live[state.ref])
    lines += _warnings(states, snapshot, pods)
    return "\n".join([*lines, *(f"Not seen: {refusal}" for refusal in snapshot.forbidden)])


def _serve_messages(live: Manifest | None) -> list[str]:
    """Return Serve's messages about applications and deployments that are not healthy."""
    status = (live or {}).get("status") or {}
    lines = []
    for role in ("activeServiceStatus", "pendingServiceStatus"):
        for name, entry in ((status.get(role) or {}).get("applicationStatuses") or {}).items():
            for part, value in [(name, entry), *(entry.get("serveDeploymentStatuses") or {}).items()]:
                if value.get("status") not in ("RUNNING", "HEALTHY") and value.get("message"):
                    lines.append(f"Serve on {part}: {value['message'].strip()}")
    return lines


def _warnings(states: Sequence[State], snapshot: Snapshot, pods: Sequence[Manifest]) -> list[str]:
    events = [event for event in snapshot.events if _is_ours(event, states, pods) and event.get("type") != "Normal"]
    events = sorted(events, key=lambda event: last_seen(event, snapshot.now))[-EVENTS:]
    return ["Last warnings:", *map(_line, events)] if events else []


def _is_ours(event: Manifest, states: Sequence[State], pods: Sequence[Manifest]) -> bool:
    """Return whether an event is about our objects, their clusters or pods.

    The name of a cluster begins with that of its RayService; a pod's is cut at the front if it is too long.
    """
    name = str(event["involvedObject"].get("name"))
    return name.startswith(tuple(state.ref.name for state in states)) or name in [p["metadata"]["name"] for p in pods]


def _line(event: Manifest) -> str:
    about = event["involvedObject"]
    message = " ".join(str(event.get("message")).split())
    return f"  {about.get('kind')}/{about.get('name')}: {event.get('reason')}: {message}"
