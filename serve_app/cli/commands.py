"""The commands of `cascade`: thin, they call the modules that do the work."""

import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from serve_app import __version__
from serve_app.cli import records
from serve_app.cli.arguments import ConfigPath
from serve_app.cli.config import config as print_config
from serve_app.cli.errors_and_exit import Group, echo_json, report_errors
from serve_app.cli.evaluation.calibrate import calibrate
from serve_app.cli.evaluation.choose import choose
from serve_app.cli.evaluation.collect import collect
from serve_app.cli.evaluation.evaluate import evaluate
from serve_app.cli.evaluation.fit_skip import fit_skip
from serve_app.cli.k8s import app as k8s
from serve_app.cli.plan import plan
from serve_app.cli.server.keys import app as keys
from serve_app.cli.server.pull import pull
from serve_app.cli.server.serve import serve
from serve_app.core.types.outcome import Force
from serve_app.errors import ConfigError
from serve_app.files.text import text_of
from serve_app.terminal.console import result_console

if TYPE_CHECKING:
    from serve_app.config.serve_file import ServeFile

app = typer.Typer(
    name="cascade",
    help="Serve several small language models as a cascade that asks a larger one only when they disagree.",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

SERVE, ASK, EVALUATE, OPERATE = "Serve", "Ask", "Evaluate", "Operate"
"""Panels of `cascade --help`, in the order of their first commands."""

app.add_typer(records.app, rich_help_panel=EVALUATE)
app.add_typer(keys, rich_help_panel=OPERATE)
app.add_typer(k8s, rich_help_panel=OPERATE)


def _print_version(requested: bool) -> None:
    from importlib.metadata import version

    if requested:
        typer.echo(f"semantic-cascade {__version__}, Ray {version('ray')}, Python {platform.python_version()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the versions and exit.")
    ] = False,
) -> None:
    """Serve several small language models as a cascade that asks a larger one only when they disagree."""


app.command(rich_help_panel=SERVE)(serve)
app.command("config", rich_help_panel=SERVE)(print_config)


@app.command(rich_help_panel=SERVE)
@report_errors
def check(config: ConfigPath) -> None:
    """Validate a config without starting anything."""
    from serve_app.config.checking.report import report
    from serve_app.config.ray_rules import load

    file = load(config)
    result = report(str(config), file)
    for line in result.lines:
        typer.echo(line)
    for warning in [*result.warnings, *_unreadable_keys(file)]:
        typer.echo(warning, err=True)


def _unreadable_keys(file: "ServeFile") -> Iterator[str]:
    """Yield a sentence if the keys file cannot be read here: a server elsewhere may have another at that path."""
    from serve_app.config.key_file import read_keys

    path = file.application.args.router.access.keys_file
    try:
        if path is not None:
            read_keys(path)
    except ConfigError as error:
        yield f"warning: router.access.keys_file: {error} Without it a server does not start."


app.command(rich_help_panel=SERVE)(plan)
app.command(rich_help_panel=SERVE)(pull)


def _read_question(question: str) -> str:
    """Return the question, or what is on standard input if it is `-`."""
    text = text_of(sys.stdin.buffer.read(), "standard input") if question == "-" else question
    if not text.strip():
        raise typer.BadParameter("the question is empty")
    return text


Question = Annotated[
    str, typer.Argument(metavar="QUESTION", help="Question to ask; - for standard input.", callback=_read_question)
]


def _in_range(threshold: float | None) -> float | None:
    """Return a threshold as the API takes it; not by `min` and `max`, which help would show in full."""
    if threshold is not None and not abs(threshold) <= 1e9:
        raise typer.BadParameter("a threshold is a number from -1e9 to 1e9")
    return threshold


@app.command(rich_help_panel=ASK)
@report_errors
def ask(
    question: Question,
    url: Annotated[str, typer.Option(envvar="CASCADE_URL", help="Address of the server.")] = "http://127.0.0.1:8000",
    model: Annotated[str, typer.Option(help="Name of a cascade or of a single model.")] = "default",
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Limit of tokens in an answer.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature; 0 is greedy.")] = None,
    threshold: Annotated[
        float | None, typer.Option(callback=_in_range, help="Threshold in place of the server's.")
    ] = None,
    signal: Annotated[str | None, typer.Option(help="Signal in place of the cascade's, such as rougeL.")] = None,
    force: Annotated[Force | None, typer.Option(help="Decision, whatever the agreement is.")] = None,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the answer.")] = 300,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole response as JSON.")] = False,
) -> None:
    """Ask a running server and show how it decided: every answer, the agreement, the answering model, the cost."""
    from rich.console import Console

    from serve_app.cli.asking import ask as asking
    from serve_app.cli.asking.view import render

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
        render(body, Console())


@app.command(rich_help_panel=ASK)
@report_errors
def signals(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """List the signals: what each measures, its range and cost, when to choose it, whether it is installed."""
    from serve_app.signals import facts

    if markdown:
        typer.echo(facts.markdown())
        return
    # In a pipe, one line for each signal, for grep and less.
    console = result_console()
    console.print(facts.table(console.width))


@app.command(rich_help_panel=ASK)
@report_errors
def score(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILES", help="Files with one text each; - is standard input.")
    ] = None,
    signal: Annotated[str, typer.Option(help="Signal that measures agreement; cascade signals lists them.")] = "sbert",
    config: Annotated[Path | None, typer.Option(help="Serving config that defines the signal.")] = None,
    agreement: Annotated[Literal["max", "mean"], typer.Option(help="Aggregate of the output scores.")] = "max",
    direction: Annotated[
        Literal["both", "hypothesis", "reference"],
        typer.Option(help="Role of a text when its output score is computed."),
    ] = "both",
    compare: Annotated[
        str | None, typer.Option(help="View of each text to compare, as a tier's compare: '{take: last_number}'.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Threshold to compare the agreement with.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Score texts as a tier scores its answers: similarities, output scores, agreement, which one is selected."""
    from rich.console import Console

    from serve_app.cli import score as scoring

    result = scoring.score(
        signal,
        files or [],
        config=config,
        agreement=agreement,
        direction=direction,
        compare=compare,
        threshold=threshold,
    )
    if as_json:
        echo_json(result.body())
    else:
        scoring.render(result, Console())


app.command(rich_help_panel=EVALUATE)(collect)
app.command("import", rich_help_panel=EVALUATE)(records.import_)
for command in (evaluate, calibrate, choose, fit_skip):
    app.command(rich_help_panel=EVALUATE)(command)
