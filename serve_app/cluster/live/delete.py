"""Delete what manifests created, and keep the data unless told otherwise."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from serve_app.cluster.live.client import Cluster
from serve_app.cluster.live.errors import UnknownKindError, UnreachableError
from serve_app.cluster.manifests import Manifest, Ref, ref_of
from serve_app.errors import ClusterError

POLL_S = 1.0
RETAINED = ("Namespace", "PersistentVolumeClaim", "CustomResourceDefinition")
"""Kinds that hold data, or whose deletion deletes other people's objects."""


@dataclass(frozen=True)
class Removal:
    """What is to be deleted, by its uid, in the order to delete; what is retained; what is absent."""

    deleted: Mapping[Ref, str]
    retained: tuple[Ref, ...]
    absent: tuple[Ref, ...]


def plan(cluster: Cluster, objects: Sequence[Manifest], *, with_data: bool) -> Removal:
    """Return what a delete would do.

    Namespaces and custom resource definitions are always retained, volume claims unless `with_data`. Objects of a kind
    that the cluster does not have (any more) are absent.
    """
    deleted: dict[Ref, str] = {}
    retained, absent = [], []
    for body in reversed(objects):
        ref, live = _live(cluster, body)
        if live is None:
            absent.append(ref)
        elif ref.kind in RETAINED and not (with_data and ref.kind == "PersistentVolumeClaim"):
            retained.append(ref)
        else:
            deleted[ref] = live["metadata"]["uid"]
    return Removal(deleted, tuple(retained), tuple(absent))


def _live(cluster: Cluster, body: Manifest) -> tuple[Ref, Manifest | None]:
    try:
        ref = ref_of(cluster.namespaced(body))
        return ref, cluster.get(ref)
    except UnknownKindError:
        return ref_of(body), None


def delete(cluster: Cluster, removal: Removal, timeout_s: float, say: Callable[[str], None]) -> None:
    """Delete, and return when all is gone, with the pods that belonged to it.

    An API server that does not answer meanwhile is waited for. Raises `ClusterError` with what still exists after
    `timeout_s` seconds.
    """
    for ref, uid in removal.deleted.items():
        cluster.delete(ref, uid)
        say(f"{ref} is being deleted")
    remaining = dict(removal.deleted)
    deadline = time.monotonic() + timeout_s
    while remaining:
        try:
            finalizers = _finalizers(cluster, remaining)
        except UnreachableError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(min(POLL_S, timeout_s))
            continue
        for ref in [ref for ref in remaining if ref not in finalizers]:
            say(f"{ref} is gone")
            del remaining[ref]
        if remaining and time.monotonic() >= deadline:
            stuck = "; ".join(_stuck(ref, names) for ref, names in finalizers.items())
            raise ClusterError(f"Not deleted after {timeout_s:g} s: {stuck}.")
        if remaining:
            time.sleep(min(POLL_S, timeout_s))


def _finalizers(cluster: Cluster, remaining: Mapping[Ref, str]) -> dict[Ref, list[str]]:
    """Return what holds each object that still exists.

    The same name with another uid is a new object, created by others meanwhile.
    """
    live = {ref: cluster.get(ref) for ref in remaining}
    return {
        ref: body["metadata"].get("finalizers") or []
        for ref, body in live.items()
        if body is not None and body["metadata"]["uid"] == remaining[ref]
    }


def _stuck(ref: Ref, finalizers: list[str]) -> str:
    return f"{ref} (held by {', '.join(finalizers)})" if finalizers else str(ref)
