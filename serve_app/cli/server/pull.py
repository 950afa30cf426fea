"""`cascade pull`: the model files that a config names."""

from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.arguments import ConfigOrQuickstart
from serve_app.cli.errors_and_exit import report_errors

if TYPE_CHECKING:
    from serve_app.config import AppConfig


@report_errors
def pull(
    config: ConfigOrQuickstart = None,
    wait: Annotated[bool, typer.Option("--wait", help="Only wait until another process has fetched them.")] = False,
    pins: Annotated[
        bool, typer.Option("--pins", help="Print the fields that pin what was fetched, for the config.")
    ] = False,
) -> None:
    """Fetch every model file that a config names."""
    from serve_app.config.serve_file import SHIPPED, load
    from serve_app.weights import wait_until_cached

    args = load(config or SHIPPED["quickstart"]).application.args
    if wait:
        wait_until_cached(args.weights(), typer.echo)
    else:
        fetch_models(args)
    typer.echo("All model files are here.")
    if pins:
        _print_pins(args)


def fetch_models(args: "AppConfig") -> None:
    """Fetch every model file that is not in the cache yet, with a progress bar for each."""
    from serve_app.weights import RichProgress, fetch

    with RichProgress() as progress:
        for name, weights, sha256 in args.weights():
            fetch(weights, sha256, progress=progress, name=name)


def warn_of_unpinned(args: "AppConfig") -> None:
    """Name, in one line, the models and signals whose owner can change what will be fetched."""
    from serve_app.config.checking.report import unpinned_warning

    if warning := unpinned_warning(args):
        typer.echo(warning, err=True)


def _print_pins(args: "AppConfig") -> None:
    from serve_app.weights import fetch, pinned

    for name, weights, sha256 in args.weights():
        if pin := pinned(weights, sha256, fetch(weights, sha256)):
            typer.echo(f"{name}: {{{pin[0]}: {pin[1]}}}")
