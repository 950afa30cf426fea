"""Apply manifests on the server's side, all or nothing as far as a dry run can tell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from shlex import quote

from serve_app.cluster.live.client import Cluster, names
from serve_app.cluster.live.diff import differs
from serve_app.cluster.live.edit_warnings import advice, warnings
from serve_app.cluster.live.errors import RefusedError
from serve_app.cluster.manifests import Manifest, Ref, ref_of
from serve_app.errors import ClusterError


@dataclass(frozen=True)
class Trial:
    """What an apply would do to one object.

    `live` is None if the object is absent, `result` what it would become, or None if `refusal` says why it would stay.
    """

    ref: Ref
    live: Manifest | None
    result: Manifest | None
    refusal: str | None = None

    @property
    def outcome(self) -> str:
        """Return `created`, `changed`, `unchanged` or `refused`."""
        if self.result is None:
            return "refused"
        if self.live is None:
            return "created"
        return "changed" if differs(self.live, self.result) else "unchanged"

    def warnings(self) -> list[str]:
        """Return a sentence for each edit that will not take effect, or costs more than it seems to."""
        return warnings(self.live, self.result) if self.live and self.result else []


def trial(cluster: Cluster, body: Manifest, *, force: bool) -> Trial:
    """Return the result of a strict dry run of one object. Raises `RefusedError` if the credentials are refused."""
    ref = ref_of(body)
    live = cluster.get(ref)
    try:
        return Trial(ref, live, cluster.apply(body, dry_run=True, force=force))
    except RefusedError as error:
        if error.status == 401:
            raise
        return Trial(ref, live, None, f"{error} {advice(ref, error)}".rstrip())


def preview(cluster: Cluster, objects: Sequence[Manifest], *, force: bool) -> tuple[list[Trial], list[str]]:
    """Return a trial of every object, and the namespaces that the manifests would create first.

    A dry run fails inside those, so an object there is taken as it is written.
    """
    objects = [cluster.namespaced(body) for body in objects]
    namespaces = [ref_of(body) for body in objects if body["kind"] == "Namespace"]
    missing = [ref.name for ref in namespaces if cluster.get(ref) is None]
    trials = [
        Trial(ref_of(body), None, body)
        if body["metadata"].get("namespace") in missing
        else trial(cluster, body, force=force)
        for body in objects
    ]
    return trials, missing


def apply(cluster: Cluster, objects: Sequence[Manifest], *, force: bool, say: Callable[[str], None]) -> list[Manifest]:
    """Apply the objects in the given order and return them as they are then; `say` reports each.

    Nothing is changed if the dry run of any is refused, but a missing namespace is created before, since dry runs fail
    without it. Raises `ClusterError` with every refusal of the dry run, or, later, with what had been applied by then.
    """
    objects = [cluster.namespaced(body) for body in objects]
    created = _create_namespaces(cluster, objects, force, say)
    trials = [trial(cluster, body, force=force) for body in objects]
    if refusals := [entry.refusal for entry in trials if entry.refusal]:
        changes = f"Only {names(created)} was created." if created else "Nothing was changed."
        raise ClusterError("\n".join([f"The dry run was refused. {changes}", *(f"  {line}" for line in refusals)]))
    for entry in trials:
        for warning in entry.warnings():
            say(f"warning: {warning}")
    applied: list[Manifest] = []
    for body, entry in zip(objects, trials, strict=True):
        applied.append(_apply_one(cluster, body, force, [ref_of(before) for before in applied]))
        if entry.ref not in created:
            say(f"{entry.ref} {entry.outcome}")
    return applied


def _create_namespaces(
    cluster: Cluster, objects: Sequence[Manifest], force: bool, say: Callable[[str], None]
) -> list[Ref]:
    """Create the missing namespaces that manifests define.

    Raises `ClusterError` for one that none defines, or that is being deleted.
    """
    defined = {body["metadata"]["name"]: body for body in objects if body["kind"] == "Namespace"}
    created = []
    for name in sorted({body["metadata"].get("namespace") for body in objects} - {None}):
        ref = Ref("v1", "Namespace", name)
        live = cluster.get(ref) if name in defined else _readable(cluster, ref)
        if live and live["metadata"].get("deletionTimestamp"):
            raise ClusterError(f"Namespace {name!r} is being deleted. Wait until it is gone, then apply again.")
        if live is None and name not in defined:
            raise ClusterError(
                f"Namespace {name!r} does not exist, and none of the manifests defines it. "
                f"Create it (kubectl create namespace {quote(name)}), or choose another with --namespace."
            )
        if live is None:
            cluster.apply(defined[name], dry_run=True, force=force)
            cluster.apply(defined[name], dry_run=False, force=force)
            created.append(ref)
            say(f"{ref} created")
    return created


def _readable(cluster: Cluster, namespace: Ref) -> Manifest | None:
    """Return a namespace, or one without fields if it may not be read: usual for accounts that are limited to it."""
    try:
        return cluster.get(namespace)
    except RefusedError as error:
        if error.status == 403:
            return {"metadata": {}}
        raise


def _apply_one(cluster: Cluster, body: Manifest, force: bool, applied: Sequence[Ref]) -> Manifest:
    try:
        return cluster.apply(body, dry_run=False, force=force)
    except ClusterError as error:
        before = f"Applied before that: {names(applied)}." if applied else "Nothing was applied before that."
        raise ClusterError(f"{error} {before} The same command may be run again.") from error
