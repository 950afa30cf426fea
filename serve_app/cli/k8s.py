"""`cascade k8s ...`: read the options and call the modules that do the work."""

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from serve_app.cli.errors_and_exit import echo_json, report_errors
from serve_app.cluster.settings import Overlay
from serve_app.errors import ClusterError, ConfigError, counted
from serve_app.terminal.console import result_console

if TYPE_CHECKING:
    from serve_app.cluster.live.apply import Trial
    from serve_app.cluster.live.client import Cluster
    from serve_app.cluster.live.wait import Patience

app = typer.Typer(
    name="k8s",
    help="Kubernetes with KubeRay: render, check, diff, apply, wait, status, delete.",
    no_args_is_help=True,
)

Manifests = Annotated[
    Path, typer.Argument(metavar="MANIFESTS", help="A YAML file, - for stdin, a folder, or a kustomization's folder.")
]
Kubeconfig = Annotated[Path | None, typer.Option(help="Kubeconfig file, instead of KUBECONFIG and ~/.kube/config.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig, instead of the current one.")]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace of manifests that do not name one, instead of the context's."),
]
Force = Annotated[bool, typer.Option("--force-conflicts", help="Take over fields that other managers own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
TimeoutS = Annotated[float, typer.Option(min=0.1, help="Time limit in seconds.")]
PollS = Annotated[float, typer.Option(min=0.05, help="Longest interval between two checks, in seconds.")]
SettleS = Annotated[float, typer.Option(min=0, help="Seconds that ready, or failed, must last before it counts.")]
UnschedulableS = Annotated[float, typer.Option(min=0, help="Seconds that a pod may be without a node.")]


@app.command()
@report_errors
def render(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A Ray Serve config file, see configs/.")],
    overlay: Annotated[Overlay, typer.Option(help="Kind of cluster, whose settings are the defaults.")],
    settings: Annotated[Path | None, typer.Option(help="YAML file with settings that replace the overlay's.")] = None,
    form: Annotated[
        Literal["kustomize", "helm"], typer.Option("--format", help="A kustomize base and overlay, or a Helm chart.")
    ] = "kustomize",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of base/ and overlays/, or of charts/.")
    ] = Path("k8s"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file is stale.")] = False,
) -> None:
    """Write a kustomize base and overlay, or a Helm chart, of a serving config: worker groups from what it requests."""
    from serve_app.cluster.render import files
    from serve_app.cluster.render import overlay as kustomize
    from serve_app.cluster.render.chart import chart as helm
    from serve_app.cluster.settings import read

    rendered = (helm if form == "helm" else kustomize).render(config, overlay, read(overlay, settings))
    folder = output / ("charts" if form == "helm" else "overlays") / overlay
    if check:
        files.check(rendered, output)
        typer.echo(f"{folder} is up to date.")
        return
    for path in files.write(rendered, output):
        typer.echo(f"Removed, as it is not rendered any more: {path}")
    for group in rendered.groups:
        typer.echo(group.sentence())
    for caution in rendered.cautions:
        typer.echo(f"warning: {caution}.", err=True)
    step = f"{folder}/README.md" if form == "helm" else f"cascade k8s diff {quote(str(folder))}"
    typer.echo(f"Written: {folder}. Next: {step}")


@app.command()
@report_errors
def check(
    manifests: Manifests,
    crds: Annotated[
        Path | None,
        typer.Option(help="Folder with the CustomResourceDefinitions of another KubeRay than 1.7."),
    ] = None,
) -> None:
    """Find what Kubernetes, the operator or Ray Serve would refuse or ignore in manifests, without a cluster."""
    from serve_app.cluster.check.faults import faults, skipped
    from serve_app.cluster.manifests import read

    objects = read(manifests)
    refusals, unchecked = faults(objects, crds), skipped(objects, crds)
    for sentence in unchecked:
        typer.echo(sentence)
    if refusals:
        raise ConfigError("\n".join(refusals))
    count = len(objects) - len(unchecked)
    typer.echo(
        f"{manifests} is valid: {counted(count, 'object')}." if count else f"Nothing in {manifests} could be checked."
    )


@app.command()
@report_errors
def apply(
    manifests: Manifests,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    force_conflicts: Force = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return only once everything is ready.")] = False,
    timeout_s: TimeoutS = 1800,
    poll_s: PollS = 5,
    settle_s: SettleS = 5,
    unschedulable_s: UnschedulableS = 60,
) -> None:
    """Apply manifests on the server's side, after a strict dry run of all of them."""
    from serve_app.cluster.live.apply import apply as apply_all
    from serve_app.cluster.manifests import read

    objects = read(manifests)
    cluster = _connect(kubeconfig, context, namespace)
    apply_all(cluster, objects, force=force_conflicts, say=typer.echo)
    if wait:
        from serve_app.cluster.live.wait import wait as wait_until_ready

        wait_until_ready(cluster, objects, _patience(timeout_s, poll_s, settle_s, unschedulable_s), typer.echo)
        typer.echo("All of it is ready.")


@app.command()
@report_errors
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
    """Wait until everything serves; stop at once, with the reason, if it never will."""
    from serve_app.cluster.live.wait import wait as wait_until_ready
    from serve_app.cluster.manifests import read

    objects = read(manifests)
    patience = _patience(timeout_s, poll_s, settle_s, unschedulable_s)
    wait_until_ready(_connect(kubeconfig, context, namespace), objects, patience, typer.echo)
    typer.echo("All of it is ready.")


@app.command()
@report_errors
def status(
    manifests: Manifests,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    unschedulable_s: UnschedulableS = 60,
    as_json: AsJson = False,
) -> None:
    """Show what is ready, what is missing and why: objects, clusters, applications, deployments."""
    from serve_app.cluster.live import status as statuses
    from serve_app.cluster.manifests import read

    report = statuses.status(_connect(kubeconfig, context, namespace), read(manifests), unschedulable_s)
    if as_json:
        echo_json(report.to_json(), indent=2)
    else:
        statuses.render(report, result_console())


@app.command()
@report_errors
def diff(
    manifests: Manifests,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    force_conflicts: Force = False,
) -> None:
    """Show what an apply would change, and warn of edits that would have no effect; changes nothing."""
    from serve_app.cluster.live.apply import preview
    from serve_app.cluster.manifests import read

    trials, missing = preview(_connect(kubeconfig, context, namespace), read(manifests), force=force_conflicts)
    for name in missing:
        typer.echo(f"warning: namespace {name} does not exist yet, so objects in it were not tried.")
    for trial in trials:
        _show(trial)
    if refusals := [trial.refusal for trial in trials if trial.refusal]:
        raise ClusterError("\n".join(refusals))
    if all(trial.outcome == "unchanged" for trial in trials):
        typer.echo("Nothing would change.")


def _show(trial: "Trial") -> None:
    from serve_app.cluster.live.diff import diff as differences

    if trial.outcome != "unchanged":
        typer.echo(f"{trial.ref} would be {trial.outcome}")
    if trial.result and trial.outcome != "unchanged":
        typer.echo("\n".join(f"  {line}" for line in differences(trial.live, trial.result)))
    for warning in trial.warnings():
        typer.echo(f"warning: {warning}")


@app.command()
@report_errors
def delete(
    manifests: Manifests,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    with_data: Annotated[bool, typer.Option("--with-data", help="Also delete volume claims and their data.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without confirmation.")] = False,
    timeout_s: TimeoutS = 600,
) -> None:
    """Delete what manifests created, and wait until it is gone. Volume claims stay, and so does the namespace."""
    from serve_app.cluster.live import delete as deletion
    from serve_app.cluster.manifests import read

    cluster = _connect(kubeconfig, context, namespace)
    removal = deletion.plan(cluster, read(manifests), with_data=with_data)
    for fate, refs in (("goes", removal.deleted), ("stays", removal.retained), ("is absent", removal.absent)):
        for ref in refs:
            typer.echo(f"{ref}{f' in {ref.namespace}' if ref.namespace else ''}: {fate}")
    if not removal.deleted:
        typer.echo("There is nothing to delete.")
        return
    if not yes:
        _confirm(f"Delete this from {cluster.context}?")
    deletion.delete(cluster, removal, timeout_s, typer.echo)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise ClusterError("Nothing was deleted: there is no terminal to confirm on; --yes confirms beforehand.")
    if not typer.confirm(question):
        raise ClusterError("Nothing was deleted.")


def _connect(kubeconfig: Path | None, context: str | None, namespace: str | None) -> "Cluster":
    from serve_app.cluster.live.kubeconfig import connect

    return connect(kubeconfig, context, namespace)


def _patience(timeout_s: float, poll_s: float, settle_s: float, unschedulable_s: float) -> "Patience":
    from serve_app.cluster.live.wait import Patience

    return Patience(timeout_s, poll_s, settle_s, unschedulable_s)
