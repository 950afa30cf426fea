"""Wait until everything that was applied is truly ready; stop at once, saying why, when it never will be."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from serve_app.cluster.live.client import TRANSIENT, Cluster
from serve_app.cluster.live.errors import RefusedError, UnreachableError, redacted
from serve_app.cluster.live.pod_problems import Trouble
from serve_app.cluster.live.readiness import State, judge
from serve_app.cluster.live.snapshot import Look, look, when
from serve_app.cluster.manifests import Manifest
from serve_app.errors import ClusterError

BREATH_S = 0.5
"""The least time between two looks, however fast the cluster changes."""
LOG_LINES = 15
EVENTS = 8


@dataclass(frozen=True)
class Patience:
    """Seconds: for all of it, between two looks, for a verdict to stand, for a pod to find a node.

    A verdict has to stand: in one round KubeRay reads the states of the applications, then hands a changed config to
    Serve, then writes both the states and `observedGeneration`. So Serve has the config of that generation, but the
    states may be those of the config before, until the next round, 2 s later: from the moment that Serve has a config
    it says DEPLOYING. Nothing in the status tells the rounds apart; that one fits into `settle_s` is an assumption.
    """

    timeout_s: float = 1800
    poll_s: float = 5
    settle_s: float = 5
    unschedulable_s: float = 60


def wait(cluster: Cluster, objects: Sequence[Manifest], patience: Patience, say: Callable[[str], None]) -> None:
    """Return once every object is ready. Raises `ClusterError` for a failure, or with what is missing at the end.

    An API server that is away for a while is waited for.
    """
    objects = [cluster.namespaced(body) for body in objects]
    progress = _Progress(say)
    deadline = time.monotonic() + patience.timeout_s
    while True:
        started = time.monotonic()
        try:
            seen = look(cluster, objects)
        except (UnreachableError, RefusedError) as error:
            if isinstance(error, RefusedError) and error.status not in TRANSIENT:
                raise
            progress.lost(str(error))
            if started >= deadline:
                raise ClusterError(f"Not ready after {patience.timeout_s:g} s. {error}") from None
            time.sleep(min(BREATH_S, patience.poll_s))
            continue
        states = [judge(body, seen, timedelta(seconds=patience.unschedulable_s)) for body in objects]
        progress.show(states)
        if progress.stands_for(states) >= patience.settle_s:
            if failed := [(state.ref, state.failure) for state in states if state.failure]:
                explained = (f"{ref}: {_explained(cluster, failure, seen.pods[ref])}" for ref, failure in failed)
                raise ClusterError(redacted("\n".join(explained)))
            if all(state.ready for state in states):
                return
        if started >= deadline:
            raise ClusterError(redacted(_too_late(states, seen, patience.timeout_s)))
        _until_change(cluster, states, seen, min(patience.poll_s, deadline - started))
        time.sleep(max(0.0, min(BREATH_S, patience.poll_s) - (time.monotonic() - started)))


class _Progress:
    """Says what changed, and knows since when the verdict is the same."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told: dict[str, str] = {}
        self._verdict: object = None
        self._since = 0.0
        self._begun = time.monotonic()

    def show(self, states: Sequence[State]) -> None:
        """A line for every object whose state is a new one."""
        for state in states:
            words = state.failure.text if state.failure else ", ".join(state.missing)
            line = f"{state.ref}: {'failing: ' if state.failure else 'waiting for ' if words else 'ready'}{words}"
            self._once(str(state.ref), line)

    def lost(self, words: str) -> None:
        """The cluster does not answer; whatever was the verdict has to be seen again."""
        self._once("", f"{words} Trying again.")
        self._verdict = None

    def stands_for(self, states: Sequence[State]) -> float:
        """Seconds that the same objects have been ready, and the same have failed."""
        verdict = [(state.ready, state.failure is not None) for state in states]
        if verdict != self._verdict:
            self._verdict, self._since = verdict, time.monotonic()
        return time.monotonic() - self._since

    def _once(self, key: str, line: str) -> None:
        if self._told.get(key) != line:
            self._told[key] = line
            self._say(f"{time.monotonic() - self._begun:5.0f}s  {redacted(line)}")


def _until_change(cluster: Cluster, states: Sequence[State], seen: Look, timeout_s: float) -> None:
    """Until the RayService changes; other things are looked at after `timeout_s` all the same."""
    for state in states:
        live = seen.live[state.ref]
        if state.ref.kind == "RayService" and live and not state.ready and timeout_s >= 1:
            cluster.await_change(state.ref, live["metadata"].get("resourceVersion", ""), timeout_s)
            return
    time.sleep(max(0.0, timeout_s))


def _explained(cluster: Cluster, failure: Trouble, pods: Sequence[Manifest]) -> str:
    """The failure, with the last log lines of the container that it is about."""
    if not failure.container:
        return failure.text
    namespace = next(pod["metadata"]["namespace"] for pod in pods if pod["metadata"]["name"] == failure.pod)
    for previous in (True, False):
        if lines := cluster.log_tail(namespace, failure.pod, failure.container, LOG_LINES, previous=previous):
            return "\n".join([failure.text, "  Its last log lines:", *(f"    {line}" for line in lines)])
    return f"{failure.text} Its log has nothing to show."


def _too_late(states: Sequence[State], seen: Look, timeout_s: float) -> str:
    lines = [f"Not ready after {timeout_s:g} s. Missing:"]
    for state in states:
        lines += [f"  {state.ref}: {', '.join(state.missing)}"] if state.missing else []
        lines += [f"  {state.ref}: {state.failure.text}"] if state.failure else []
    pods = [pod for group in seen.pods.values() for pod in group]
    pending = [pod["metadata"]["name"] for pod in pods if (pod.get("status") or {}).get("phase") == "Pending"]
    if pending:
        lines.append(f"Pending pods: {', '.join(pending)}")
    for state in states:
        lines += _messages(state, seen)
    events = [event for event in seen.events if _ours(event, states, pods) and event.get("type") != "Normal"]
    events = sorted(events, key=lambda event: when(event, seen.now))[-EVENTS:]
    if events:
        lines += ["Last warnings:", *map(_event, events)]
    return "\n".join([*lines, *(f"Not seen: {words}" for words in seen.blind)])


def _messages(state: State, seen: Look) -> list[str]:
    """What Serve says of applications and deployments that are not as they should be."""
    status = (seen.live[state.ref] or {}).get("status") or {}
    lines = []
    for which in ("activeServiceStatus", "pendingServiceStatus"):
        for name, entry in ((status.get(which) or {}).get("applicationStatuses") or {}).items():
            for part, value in [(name, entry), *(entry.get("serveDeploymentStatuses") or {}).items()]:
                if value.get("status") not in ("RUNNING", "HEALTHY") and value.get("message"):
                    lines.append(f"Serve on {part}: {value['message'].strip()}")
    return lines


def _ours(event: Manifest, states: Sequence[State], pods: Sequence[Manifest]) -> bool:
    """Clusters bear the name of their RayService at the front; a pod's is cut at the front if it is too long."""
    name = str(event["involvedObject"].get("name"))
    return name.startswith(tuple(state.ref.name for state in states)) or name in [p["metadata"]["name"] for p in pods]


def _event(event: Manifest) -> str:
    about = event["involvedObject"]
    words = " ".join(str(event.get("message")).split())
    return f"  {about.get('kind')}/{about.get('name')}: {event.get('reason')}: {words}"
