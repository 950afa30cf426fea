"""The `cascade` command: thin, it calls the modules that do the work."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from serve_app.cluster.cli import app as k8s
from serve_app.command import echo_json, leave
from serve_app.command import sentences as _sentences
from serve_app.core.types import Force
from serve_app.errors import ConfigError, ServerError
from serve_app.evaluation import cli as evaluation

if TYPE_CHECKING:
    from serve_app.config import AppConfig
    from serve_app.serve_file import ServeFile

app = typer.Typer(
    name="cascade",
    help="Serve several small language models as a cascade that asks a larger one only when they disagree.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(k8s)

WITH_RPS = ("cascade", "deferral_rate", "prompt_tokens", "completion_tokens", "speed")
"""Options of `plan` that mean nothing without --rps."""
ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A Ray Serve config file, see configs/.")]


def main() -> None:
    """Entry point of the `cascade` command."""
    try:
        app()
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))


@app.command()
@_sentences
def check(config: ConfigPath) -> None:
    """Validate a config without starting anything."""
    from serve_app.deployments.serve_schema import load

    file = load(config)
    args = file.application.args
    for id_, row in file.thresholds().items():
        tiers = " -> ".join(" + ".join(tier.models) for tier in args.cascades[id_].tiers)
        thresholds = f" (thresholds: {', '.join(map(str, row))})" if row else ""
        typer.echo(f"{id_}: {tiers}{thresholds}")
    typer.echo(f"{config} is valid: {len(args.models)} models, {len(args.cascades)} cascade(s).")


@app.command()
@_sentences
def plan(
    context: typer.Context,
    config: ConfigPath,
    node: Annotated[
        list[str] | None, typer.Option(help="Resources of a node, '{CPU: 32, GPU: 8}', or of alike ones, '{...} x 4'.")
    ] = None,
    nodes: Annotated[Path | None, typer.Option(help="A YAML file of nodes: name, resources, count, max_count.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same figures as JSON, for machines.")] = False,
    rps: Annotated[
        float | None, typer.Option(min=1e-6, help="Instead: the replicas for so many requests a second.")
    ] = None,
    cascade: Annotated[str, typer.Option(help="With --rps: the cascade that is asked.")] = "default",
    deferral_rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="With --rps: share that each tier defers.")
    ] = None,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="With --rps: of a request.")] = 256,
    completion_tokens: Annotated[int, typer.Option(min=1, help="With --rps: of an answer.")] = 128,
    speed: Annotated[list[str] | None, typer.Option(help="With --rps: a model's time, 'NAME={step_s: 0.012}'.")] = None,
) -> None:
    """Show what a config asks of a cluster, and whether it fits; with --rps how many replicas a load needs."""
    from rich.console import Console

    from serve_app.deployments.serve_schema import load
    from serve_app.planning import feasibility, plan_report
    from serve_app.planning.nodes import read
    from serve_app.planning.plan import plan_of

    file = load(config)
    if rps is not None:
        if node or nodes:
            raise ConfigError(
                "--rps: sizes the fleet for a load, --node and --nodes place the configured one; not both."
            )
        _plan_load(file, cascade, rps, deferral_rate, (prompt_tokens, completion_tokens), speed or [], as_json=as_json)
        return
    for name in WITH_RPS:
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE":
            raise ConfigError(f"--{name.replace('_', '-')}: means nothing without --rps.")
    groups = read(nodes, node or [])
    planned = plan_of(
        file.application.args,
        file.application.deployments_in_force(),
        target_capacity=file.target_capacity,
        file_bytes=_file_bytes(file.application.args),
    )
    fit = feasibility.fits(planned, groups) if groups else None
    if as_json:
        echo_json(plan_report.body(planned, fit), indent=2)
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 300)
        plan_report.render(planned, fit, console)
    if fit and fit.impossible:
        raise ServerError(f"These nodes cannot run it: {'; '.join(fit.impossible)}.")


def _plan_load(
    file: "ServeFile",
    cascade: str,
    rps: float,
    deferral_rate: float | None,
    tokens: tuple[int, int],
    speed: list[str],
    *,
    as_json: bool,
) -> None:
    from rich.console import Console

    from serve_app.planning import capacity, capacity_report

    args, options = file.application.args, file.application.deployments_in_force()
    speeds = capacity.speeds_of(args, speed)
    checked_rps = min(rps, capacity_report.SIMULATED_RPS)
    planned, small = (
        capacity.capacity(args, options, capacity.assume(args, cascade, rate, deferral_rate, *tokens), speeds)
        for rate in (rps, checked_rps)
    )
    checked = capacity_report.check(small)
    if as_json:
        echo_json(capacity_report.body(planned, checked, checked_rps), indent=2)
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 300)
        capacity_report.render(planned, checked, checked_rps, console)


def _file_bytes(args: "AppConfig") -> dict[str, int]:
    """Sizes of the model files that are on this machine already."""
    from serve_app.weights import cached

    paths = {name: cached(uri, sha256) for name, uri, sha256 in args.weights()}
    return {
        name: path.stat().st_size
        for name, path in paths.items()
        if path is not None and path.is_file() and path.suffix != ".zip"
    }


@app.command()
@_sentences
def pull(
    config: ConfigPath,
    wait: Annotated[bool, typer.Option("--wait", help="Fetch nothing; wait until another process has.")] = False,
) -> None:
    """Fetch every model file that a config names."""
    from serve_app.serve_file import load
    from serve_app.weights import wait_until_cached

    args = load(config).application.args
    if wait:
        wait_until_cached(args.weights(), typer.echo)
    else:
        _pull(args)
    typer.echo("All model files are here.")


@app.command()
@_sentences
def serve(config: ConfigPath) -> None:
    """Start the server on this machine and keep it up until Ctrl-C."""
    from rich.console import Console

    from serve_app.deployments.serve_schema import load

    _prepare_ray()
    file = load(config)
    _pull(file.application.args)
    # Ray takes seconds to import, so only now.
    from serve_app.deployments import local

    local.check_port(file)
    local.check_environments(file)
    ready = False
    with Console(highlight=False).status("starting Ray") as status:
        try:
            with local.local_cluster() as cluster:
                _stop_by_signal()
                try:
                    local.check_room(file)
                    status.update("starting Ray Serve")
                    local.submit(config, cluster)
                    local.wait_until_running(file, cluster, status.update)
                    status.update("warming up")
                    local.warm_up(file)
                    status.stop()
                    ready = True
                    typer.echo(_greeting(file.url, list(file.application.args.cascades), cluster.dashboard_url))
                    local.watch(file, typer.echo)
                finally:
                    status.update("stopping")
                    status.start()
        except KeyboardInterrupt:
            # Ctrl-C is how a server is meant to end.
            if not ready:
                raise


def _stop_by_signal() -> None:
    """SIGTERM as Ctrl-C; both even where a shell started us with them ignored, or Ray put handlers of its own there."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@app.command()
@_sentences
def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    url: Annotated[str, typer.Option(envvar="CASCADE_URL", help="The server.")] = "http://127.0.0.1:8000",
    model: Annotated[str, typer.Option(help="A cascade or a single model.")] = "default",
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    threshold: Annotated[float | None, typer.Option(min=-1e9, max=1e9, help="Instead of the server's.")] = None,
    signal: Annotated[str | None, typer.Option(help="Instead of the cascade's, such as rougeL.")] = None,
    force: Annotated[Force | None, typer.Option(help="Decide so whatever the agreement is.")] = None,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Seconds to wait.")] = 300,
    as_json: Annotated[bool, typer.Option("--json", help="The whole response, for machines.")] = False,
) -> None:
    """Ask a running server and show how it decided: every answer, the agreement, who answered, the cost."""
    from rich.console import Console

    from serve_app import ask as asking

    body = asking.ask(
        url,
        question,
        model=model,
        system=system,
        max_tokens=max_tokens,
        temperature=temperature,
        threshold=threshold,
        signal=signal,
        force=force,
        timeout_s=timeout_s,
    )
    if as_json:
        echo_json(body, indent=2)
    else:
        asking.render(body, Console())


@app.command()
@_sentences
def signals(
    markdown: Annotated[bool, typer.Option("--markdown", help="The table as Markdown, for documents.")] = False,
) -> None:
    """List the signals: what each measures, its range and cost, when to choose it, whether it is installed."""
    from rich.console import Console

    from serve_app.signals import facts

    if markdown:
        typer.echo(facts.markdown())
        return
    # Nobody reads a pipe's 80 columns: there, a line a signal, for grep and less.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 300)
    console.print(facts.table(console.width))


@app.command()
@_sentences
def score(
    files: Annotated[list[str] | None, typer.Argument(metavar="FILES", help="Texts, one a file; - is stdin.")] = None,
    signal: Annotated[str, typer.Option(help="What measures agreement, see cascade signals.")] = "sbert",
    config: Annotated[Path | None, typer.Option(help="Take the signal from this serving config.")] = None,
    agreement: Annotated[Literal["max", "mean"], typer.Option(help="Of the output scores.")] = "max",
    direction: Annotated[
        Literal["both", "hypothesis", "reference"], typer.Option(help="What a text is when it is scored.")
    ] = "both",
    threshold: Annotated[float | None, typer.Option(help="Say whether this agreement would be accepted.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
) -> None:
    """Score texts as a tier scores its answers: similarities, output scores, agreement, which one is selected."""
    from rich.console import Console

    from serve_app import score as scoring

    scored = scoring.score(
        signal, files or [], config=config, agreement=agreement, direction=direction, threshold=threshold
    )
    if as_json:
        echo_json(scored.body())
    else:
        scoring.render(scored, Console())


for command in (evaluation.collect, evaluation.evaluate, evaluation.calibrate, evaluation.choose):
    app.command()(command)


def _prepare_ray() -> None:
    """Ray reads its environment when it is imported."""
    # Ray's ports listen on every interface; a token guards them. Said here, it is on without a warning.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
    os.environ.pop("RAY_ADDRESS", None)  # always a cluster of our own


def _greeting(url: str, cascades: list[str], dashboard_url: str | None) -> str:
    body = {"model": cascades[0], "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    dashboard = f"Ray dashboard: {dashboard_url}\n" if dashboard_url else ""
    return (
        f"Ready at {url}/v1\nAPI docs: {url}/docs\n{dashboard}\n"
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\\n    -d '{json.dumps(body)}'\n"
        f'  {sys.argv[0]} ask --url {url} --model {cascades[0]} "What is the capital of France?"\n\nCtrl-C stops it.'
    )


def _pull(args: "AppConfig") -> None:
    from serve_app.weights import RichProgress, fetch

    with RichProgress() as progress:
        for name, uri, sha256 in args.weights():
            fetch(uri, sha256, progress=progress, name=name)


if __name__ == "__main__":
    main()
