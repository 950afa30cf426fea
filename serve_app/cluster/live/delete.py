"""Take down what manifests put up, and keep the data unless told otherwise."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serve_app.cluster.live.client import Cluster
from serve_app.cluster.manifests import Manifest, Ref, ref_of
from serve_app.errors import ClusterError

POLL_S = 1.0
KEPT = ("Namespace", "PersistentVolumeClaim", "CustomResourceDefinition")
"""Data, or what takes other people's data along when it goes."""


@dataclass(frozen=True)
class Removal:
    """What goes, by its uid, in the order to delete; what stays; what was not there."""

    going: dict[Ref, str]
    kept: list[Ref]
    absent: list[Ref]


def plan(cluster: Cluster, objects: Sequence[Manifest], *, with_data: bool) -> Removal:
    """What a delete would do. A namespace and custom resource definitions always stay, claims unless `with_data`."""
    going: dict[Ref, str] = {}
    kept, absent = [], []
    for body in reversed([cluster.namespaced(body) for body in objects]):
        ref = ref_of(body)
        live = cluster.get(ref)
        if live is None:
            absent.append(ref)
        elif ref.kind in KEPT and not (with_data and ref.kind == "PersistentVolumeClaim"):
            kept.append(ref)
        else:
            going[ref] = live["metadata"]["uid"]
    return Removal(going, kept, absent)


def delete(cluster: Cluster, removal: Removal, timeout_s: float, say: Callable[[str], None]) -> None:
    """Delete, and return when all is gone, with the pods that belonged to it. `ClusterError` for what is stuck."""
    for ref, uid in removal.going.items():
        cluster.delete(ref, uid)
        say(f"{ref} is being deleted")
    left = dict(removal.going)
    deadline = time.monotonic() + timeout_s
    while left:
        stuck = {}
        for ref, uid in left.items():
            live = cluster.get(ref)
            # The same name with another uid is a new object, made by somebody else meanwhile.
            if live is None or live["metadata"]["uid"] != uid:
                say(f"{ref} is gone")
            else:
                stuck[ref] = live["metadata"].get("finalizers") or []
        left = {ref: left[ref] for ref in stuck}
        if left and time.monotonic() >= deadline:
            raise ClusterError(
                f"Still there after {timeout_s:g} s: {'; '.join(_held(*item) for item in stuck.items())}."
            )
        if left:
            time.sleep(min(POLL_S, timeout_s))


def _held(ref: Ref, finalizers: list[str]) -> str:
    return f"{ref} (held by {', '.join(finalizers)})" if finalizers else str(ref)
