"""The `cascade` command: thin, it calls the modules that do the work."""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, ParamSpec

import typer

from serve_app.core.types import Force
from serve_app.errors import CascadeError, ConfigError, ServerError

if TYPE_CHECKING:
    from serve_app.config import AppConfig

P = ParamSpec("P")

app = typer.Typer(
    name="cascade",
    help="Serve several small language models as a cascade that asks a larger one only when they disagree.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A Ray Serve config file, see configs/.")]


def main() -> None:
    """Entry point of the `cascade` command."""
    app()


def _sentences(command: Callable[P, None]) -> Callable[P, None]:
    """Errors of ours end the command with their sentence: exit code 2 for a bad config, 1 for the rest."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except CascadeError as error:
            typer.echo(f"cascade: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run


@app.command()
@_sentences
def check(config: ConfigPath) -> None:
    """Validate a config without starting anything."""
    from serve_app.serve_file import load

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
    config: ConfigPath,
    node: Annotated[
        list[str] | None, typer.Option(help="Resources of a node, '{CPU: 32, GPU: 8}', or of alike ones, '{...} x 4'.")
    ] = None,
    nodes: Annotated[Path | None, typer.Option(help="A YAML file of nodes: name, resources, count, max_count.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same figures as JSON, for machines.")] = False,
) -> None:
    """Show what a config asks of a cluster: replicas, CPUs, GPUs, memory; with nodes, whether and where it fits."""
    from rich.console import Console

    from serve_app import feasibility, plan_report
    from serve_app.nodes import read
    from serve_app.plan import plan_of
    from serve_app.serve_file import load

    file = load(config)
    groups = read(nodes, node or [])
    planned = plan_of(
        file.application.args,
        file.application.deployments_in_force(),
        target_capacity=file.target_capacity,
        file_bytes=_file_bytes(file.application.args),
    )
    fit = feasibility.fits(planned, groups) if groups else None
    if as_json:
        typer.echo(json.dumps(plan_report.body(planned, fit), indent=2))
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 300)
        plan_report.render(planned, fit, console)
    if fit and fit.impossible:
        raise ServerError(f"These nodes cannot run it: {'; '.join(fit.impossible)}.")


def _file_bytes(args: "AppConfig") -> dict[str, int]:
    """Sizes of the model files that are on this machine already."""
    from serve_app.weights import fetch, is_cached

    paths = {name: fetch(uri, sha256) for name, uri, sha256 in args.weights() if is_cached(uri, sha256)}
    return {name: path.stat().st_size for name, path in paths.items() if path.is_file()}


@app.command()
@_sentences
def pull(config: ConfigPath) -> None:
    """Fetch every model file that a config names."""
    from serve_app.serve_file import load

    _pull(load(config).application.args)
    typer.echo("All model files are here.")


@app.command()
@_sentences
def serve(config: ConfigPath) -> None:
    """Start the server on this machine and keep it up until Ctrl-C."""
    from rich.console import Console

    from serve_app.serve_file import load

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
        typer.echo(json.dumps(body, ensure_ascii=False, indent=2))
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
        typer.echo(json.dumps(scored.body(), ensure_ascii=False))
    else:
        scoring.render(scored, Console())


@app.command()
@_sentences
def collect(
    config: ConfigPath,
    data: Annotated[
        list[str], typer.Argument(metavar="DATA...", help="JSON Lines files of examples, or hf-datasets:NAME.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RECORDS", help="Added to, if it is there.")],
    limit: Annotated[int | None, typer.Option(min=1, help="So many examples of each of DATA.")] = None,
    seed: Annotated[int | None, typer.Option(help="Take a random sample, not the first.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once, to one model after another.")] = 4,
    url: Annotated[str | None, typer.Option(help="Ask a running server, not engines in this process.")] = None,
    retry_failures: Annotated[bool, typer.Option(help="Ask again where a model failed.")] = False,
    prompts: Annotated[Path | None, typer.Option(help="A folder with prompts in place of ours, TASK.txt.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer, for every task.")] = None,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Seconds after which a model has failed.")] = 600,
) -> None:
    """Ask every model of the cascades every example once, and record the answers. Stopped, it goes on from there."""
    from rich.console import Console

    from serve_app.evaluation import collect as collecting

    options = collecting.Options(limit, seed, concurrency, url, retry_failures, prompts, max_tokens, timeout_s)
    collecting.collect(config, data, output, options, Console(stderr=True))


RecordsPath = Annotated[Path, typer.Argument(metavar="RECORDS", help="What cascade collect wrote; .jsonl or .jsonl.gz.")]
Members = Annotated[str | None, typer.Option(help="A cascade of these models, such as a,b,c; needs --target.")]
Target = Annotated[str | None, typer.Option(help="The model that --members defer to.")]
Signals = Annotated[str | None, typer.Option(help="Only these, such as sbert,rougeL. Default: all that are here.")]
Metrics = Annotated[str | None, typer.Option("--metric", help="The main one first. Default: each task's own.")]
Seed = Annotated[int, typer.Option(help="Of the parts of the examples and of the bootstrap.")]


@app.command()
@_sentences
def evaluate(
    records: RecordsPath,
    cascade: Annotated[str | None, typer.Option(help="Only this cascade, or these: a,b. Default: all.")] = None,
    members: Members = None,
    target: Target = None,
    signals: Signals = None,
    metric: Metrics = None,
    fixed: Annotated[str | None, typer.Option(help="The member whose answer fixed rows keep. Default: the first.")] = None,
    margin: Annotated[float, typer.Option(min=0, help="Quality that may be lost against the target, 0 to 1.")] = 0.01,
    seed: Seed = 0,
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap.")] = 1000,
    report: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the whole report: HTML, Markdown, CSV, JSON, PNG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object, for machines.")] = False,
) -> None:
    """Say how good and how cheap every signal and threshold would have been on recorded answers; no model is called."""
    from rich.console import Console

    from serve_app.evaluation import tables
    from serve_app.evaluation.evaluate import evaluate as evaluated
    from serve_app.evaluation.material import Material, Options
    from serve_app.evaluation.records import Records

    options = Options(
        _list(cascade), _list(members), target, _list(signals), _list(metric), fixed, margin, 1 / 3, seed, resamples
    )
    with Console(stderr=True).status("evaluating"):
        body = evaluated(Material(Records.load(records), options))
    if report is not None:
        from serve_app.evaluation.report import write

        for path in write(body, report):
            typer.echo(path, err=True)
    if as_json:
        typer.echo(json.dumps(body, ensure_ascii=False))
    else:
        tables.render(body, Console(highlight=False, width=None if sys.stdout.isatty() else 200))


def _list(names: str | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(name.strip() for name in names.split(",") if name.strip())


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
