"""`cascade fit-skip`: the past requests that skip looks up."""

from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.errors_and_exit import report_errors
from serve_app.cli.evaluation.arguments import CascadesOf, Force, RecordsPath
from serve_app.files.output import check_output
from serve_app.terminal.console import note_console


@report_errors
def fit_skip(
    records: RecordsPath,
    cascade: Annotated[str, typer.Option(help="Cascade with skip in its config.")] = "default",
    config: CascadesOf = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: the one that the config names."),
    ] = None,
    force: Force = False,
) -> None:
    """Embed recorded prompts, and note how far the answers to them agreed: the past requests that skip looks up."""
    from serve_app.evaluation.analysis.other_config import load_records
    from serve_app.evaluation.fit_skip.command import run

    if output is not None:
        check_output(output, force=force, inputs=(records,))
    loaded_records = load_records(records, config)
    with note_console().status("embedding"):
        result = run(loaded_records, cascade, output)
    typer.echo("\n".join(result.sentences()))
