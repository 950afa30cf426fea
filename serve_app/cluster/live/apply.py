"""Server-side apply, all or nothing as far as a dry run can tell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serve_app.cluster.live.client import Cluster, names
from serve_app.cluster.live.diff import differs
from serve_app.cluster.live.edit_warnings import advice, warnings
from serve_app.cluster.live.errors import RefusedError
from serve_app.cluster.manifests import Manifest, Ref, ref_of
from serve_app.errors import ClusterError


@dataclass(frozen=True)
class Trial:
    """What an apply would do to one object: `live` is None if it is not there, `result` what it would become.

    `refusal` says why it would do nothing at all.
    """

    ref: Ref
    live: Manifest | None
    result: Manifest | None
    refusal: str | None = None

    @property
    def outcome(self) -> str:
        """`created`, `changed`, `unchanged` or `refused`."""
        if self.result is None:
            return "refused"
        if self.live is None:
            return "created"
        return "changed" if differs(self.live, self.result) else "unchanged"

    def warnings(self) -> list[str]:
        """Edits that will not take effect, or cost more than they seem to."""
        return warnings(self.live, self.result) if self.live and self.result else []


def trial(cluster: Cluster, body: Manifest, *, force: bool) -> Trial:
    """A strict dry run of one object, beside what is live."""
    ref = ref_of(body)
    live = cluster.get(ref)
    try:
        return Trial(ref, live, cluster.apply(body, dry_run=True, force=force))
    except RefusedError as error:
        if error.status == 401:
            raise
        return Trial(ref, live, None, f"{error} {advice(ref, error)}".rstrip())


def preview(cluster: Cluster, objects: Sequence[Manifest], *, force: bool) -> tuple[list[Trial], list[str]]:
    """A trial of every object, and the namespaces that the manifests would make first.

    Nothing can be tried inside those, so what would lie there is taken as it is written.
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
    """The objects as they are then, in the given order; nothing is changed if the dry run of any is refused.

    A namespace that is not there yet is the exception: nothing can be tried in it, so it is made first. Raises
    `ClusterError` with every refusal of the dry run, or, later, with what had been applied by then.
    """
    objects = [cluster.namespaced(body) for body in objects]
    made = _namespaces(cluster, objects, force, say)
    trials = [trial(cluster, body, force=force) for body in objects]
    if refusals := [entry.refusal for entry in trials if entry.refusal]:
        undone = f"Only {names(made)} was made." if made else "Nothing was changed."
        raise ClusterError("\n".join([f"The dry run was refused. {undone}", *(f"  {line}" for line in refusals)]))
    for entry in trials:
        for warning in entry.warnings():
            say(f"warning: {warning}")
    done: list[Manifest] = []
    for body, entry in zip(objects, trials, strict=True):
        done.append(_for_real(cluster, body, force, [ref_of(before) for before in done]))
        if entry.ref not in made:
            say(f"{entry.ref} {entry.outcome}")
    return done


def _namespaces(cluster: Cluster, objects: Sequence[Manifest], force: bool, say: Callable[[str], None]) -> list[Ref]:
    """Make the namespaces that the rest needs, and refuse to go on without one that nobody makes."""
    given = {body["metadata"]["name"]: body for body in objects if body["kind"] == "Namespace"}
    made = []
    for name in sorted({body["metadata"].get("namespace") for body in objects} - {None}):
        ref = Ref("v1", "Namespace", name)
        if name in given:
            if cluster.get(ref) is None:
                cluster.apply(given[name], dry_run=True, force=force)
                cluster.apply(given[name], dry_run=False, force=force)
                made.append(ref)
                say(f"{ref} created")
        elif not _may_be_there(cluster, ref):
            raise ClusterError(
                f"Namespace {name!r} is not there, and none of the manifests makes it. "
                f"Make it (kubectl create namespace {name}), or name another with --namespace."
            )
    return made


def _may_be_there(cluster: Cluster, ref: Ref) -> bool:
    """Who works in one namespace alone is often not allowed to look at it from outside."""
    try:
        return cluster.get(ref) is not None
    except RefusedError as error:
        if error.status == 403:
            return True
        raise


def _for_real(cluster: Cluster, body: Manifest, force: bool, done: Sequence[Ref]) -> Manifest:
    try:
        return cluster.apply(body, dry_run=False, force=force)
    except ClusterError as error:
        before = f"Applied before that: {names(done)}." if done else "Nothing was applied before that."
        raise ClusterError(f"{error} {before} The same command may be run again.") from error
