"""`cascade k8s ...`: thin, it calls the modules that do the work."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.errors_and_exit import echo_json, sentences
from serve_app.cluster.settings import Overlay
from serve_app.errors import ClusterError, ConfigError

if TYPE_CHECKING:
    from serve_app.cluster.live.client import Cluster
    from serve_app.cluster.live.wait import Patience

app = typer.Typer(
    name="k8s", help="Kubernetes with KubeRay: render, check, apply, watch, compare, delete.", no_args_is_help=True
)

Manifests = Annotated[
    Path, typer.Argument(metavar="MANIFESTS", help="A YAML file, - for stdin, a folder, or a kustomization's folder.")
]
Kubeconfig = Annotated[Path | None, typer.Option(help="Instead of KUBECONFIG and ~/.kube/config.")]
Context = Annotated[str | None, typer.Option(help="A context of the kubeconfig, instead of the current one.")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="For what names none itself, instead of the context's.")
]
Force = Annotated[bool, typer.Option("--force-conflicts", help="Take over fields that others own.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")]
TimeoutS = Annotated[float, typer.Option(min=0.1, help="Seconds until it gives up.")]
PollS = Annotated[float, typer.Option(min=0.05, help="At most so many seconds between two looks.")]
SettleS = Annotated[float, typer.Option(min=0, help="Seconds that ready, or failed, must last to count.")]
UnschedulableS = Annotated[float, typer.Option(min=0, help="Seconds that a pod may be without a node.")]


@app.command()
@sentences
def render(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A Ray Serve config file, see configs/.")],
    overlay: Annotated[Overlay, typer.Option(help="The kind of cluster, whose settings it starts from.")],
    settings: Annotated[Path | None, typer.Option(help="A YAML file with settings over the overlay's own.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of base/ and overlays/.")] = Path("k8s"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where a file is not up to date.")] = False,
) -> None:
    """Write a kustomize base, and an overlay for a serving config: worker groups from what the config asks for."""
    from serve_app.cluster import settings as setting
    from serve_app.cluster.render import overlay as rendering

    rendered = rendering.render(config, overlay, setting.read(overlay, settings))
    folder = output / "overlays" / overlay
    if check:
        rendering.check(rendered, output)
        typer.echo(f"{folder} is up to date.")
        return
    rendering.write(rendered, output)
    for group in rendered.groups:
        typer.echo(group.sentence())
    for caution in rendered.cautions:
        typer.echo(f"warning: {caution}.", err=True)
    typer.echo(f"Written: {folder}. Next: cascade k8s diff {folder}")


@app.command()
@sentences
def check(
    manifests: Manifests,
    crds: Annotated[Path | None, typer.Option(help="A folder with KubeRay's CustomResourceDefinitions.")] = None,
) -> None:
    """Say what Kubernetes, the operator or Ray Serve would refuse or ignore in manifests, without a cluster."""
    from serve_app.cluster.check.faults import faults, skipped
    from serve_app.cluster.manifests import read

    objects = read(manifests)
    found, unknown = faults(objects, crds), skipped(objects, crds)
    for sentence in unknown:
        typer.echo(sentence)
    if found:
        raise ConfigError("\n".join(found))
    known = len(objects) - len(unknown)
    typer.echo(f"{manifests} is valid: {known} objects." if known else f"Nothing in {manifests} could be checked.")


@app.command()
@sentences
def apply(
    manifests: Manifests,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    force_conflicts: Force = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it is truly ready.")] = False,
    timeout_s: TimeoutS = 1800,
    poll_s: PollS = 5,
    settle_s: SettleS = 5,
    unschedulable_s: UnschedulableS = 60,
) -> None:
    """Apply manifests on the server's side, after a strict dry run of all of them."""
    from serve_app.cluster.live import apply as applying
    from serve_app.cluster.manifests import read

    objects = read(manifests)
    cluster = _connect(kubeconfig, context, namespace)
    applying.apply(cluster, objects, force=force_conflicts, say=typer.echo)
    if wait:
        from serve_app.cluster.live.wait import wait as until_ready

        until_ready(cluster, objects, _patience(timeout_s, poll_s, settle_s, unschedulable_s), typer.echo)
        typer.echo("All of it is ready.")


@app.command()
@sentences
def wait(
    manifests: Manifests,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    timeout_s: TimeoutS = 1800,
    poll_s: PollS = 5,
    settle_s: SettleS = 5,
    unschedulable_s: UnschedulableS = 60,
) -> None:
    """Wait until everything serves; stop at once, and say why, when it never will."""
    from serve_app.cluster.live.wait import wait as until_ready
    from serve_app.cluster.manifests import read

    objects = read(manifests)
    patience = _patience(timeout_s, poll_s, settle_s, unschedulable_s)
    until_ready(_connect(kubeconfig, context, namespace), objects, patience, typer.echo)
    typer.echo("All of it is ready.")


@app.command()
@sentences
def status(
    manifests: Manifests,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    unschedulable_s: UnschedulableS = 60,
    as_json: AsJson = False,
) -> None:
    """Show what is ready, what is missing and why: objects, clusters, applications, deployments."""
    from rich.console import Console

    from serve_app.cluster.live import status as looking
    from serve_app.cluster.manifests import read

    body = looking.status(_connect(kubeconfig, context, namespace), read(manifests), unschedulable_s)
    if as_json:
        echo_json(body, indent=2)
    else:
        looking.render(body, Console(highlight=False, width=None if sys.stdout.isatty() else 300))


@app.command()
@sentences
def diff(
    manifests: Manifests,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    force_conflicts: Force = False,
) -> None:
    """Show what an apply would change, and warn of what it would not; changes nothing."""
    from serve_app.cluster.live.apply import preview
    from serve_app.cluster.live.diff import diff as compare
    from serve_app.cluster.manifests import read

    trials, missing = preview(_connect(kubeconfig, context, namespace), read(manifests), force=force_conflicts)
    for name in missing:
        typer.echo(f"warning: namespace {name} is not there yet, so what would lie in it was not tried.")
    for entry in trials:
        if entry.outcome != "unchanged":
            typer.echo(f"{entry.ref} would be {entry.outcome}")
        if entry.result and entry.outcome != "unchanged":
            typer.echo("\n".join(f"  {line}" for line in compare(entry.live, entry.result)))
        for warning in entry.warnings():
            typer.echo(f"warning: {warning}")
    if refusals := [entry.refusal for entry in trials if entry.refusal]:
        raise ClusterError("\n".join(refusals))
    if all(entry.outcome == "unchanged" for entry in trials):
        typer.echo("Nothing would change.")


@app.command()
@sentences
def delete(
    manifests: Manifests,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    with_data: Annotated[bool, typer.Option("--with-data", help="Volume claims, too, and what is on them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    timeout_s: TimeoutS = 600,
) -> None:
    """Delete what manifests put up, and wait until it is gone. Volume claims stay, and so does the namespace."""
    from serve_app.cluster.live import delete as deleting
    from serve_app.cluster.manifests import read

    cluster = _connect(kubeconfig, context, namespace)
    removal = deleting.plan(cluster, read(manifests), with_data=with_data)
    for title, refs in (("goes", removal.going), ("stays", removal.kept), ("was not there", removal.absent)):
        for ref in refs:
            typer.echo(f"{ref}{f' in {ref.namespace}' if ref.namespace else ''}: {title}")
    if not removal.going:
        typer.echo("There is nothing to delete.")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise ClusterError("Nothing was deleted: nobody is there to ask; --yes says so beforehand.")
        if not typer.confirm(f"Delete this from {cluster.context}?"):
            raise ClusterError("Nothing was deleted.")
    deleting.delete(cluster, removal, timeout_s, typer.echo)


def _connect(kubeconfig: Path | None, context: str | None, namespace: str | None) -> "Cluster":
    from serve_app.cluster.live.kubeconfig import connect

    return connect(kubeconfig, context, namespace)


def _patience(timeout_s: float, poll_s: float, settle_s: float, unschedulable_s: float) -> "Patience":
    from serve_app.cluster.live.wait import Patience

    return Patience(timeout_s, poll_s, settle_s, unschedulable_s)
