"""`cascade config`: a config file to begin with."""

from typing import Annotated, Literal

import typer

from serve_app.cli.errors_and_exit import report_errors


@report_errors
def config(
    name: Annotated[Literal["quickstart"], typer.Argument(help="Name of the config.")] = "quickstart",
) -> None:
    """Print a config that comes with the package, to save and to change: cascade config > my.yaml."""
    from serve_app.config.serve_file import SHIPPED

    typer.echo(SHIPPED[name].read_text(encoding="utf-8"), nl=False)
