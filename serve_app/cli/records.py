"""The commands that make records without asking a model: `cascade import`."""

from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.errors_and_exit import report_errors
from serve_app.terminal.console import note_console


@report_errors
def import_(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...", help="Files of recorded answers, plain or .gz; NAME=PATH names a file's model."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RECORDS", help="Records file to write.")],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Format: alpaca_eval, lm_eval, openai_batch, routerarena, wmt, zeroeval; jsonl with --map.",
        ),
    ] = None,
    map_: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="OURS=THEIRS,...",
            help="Fields of any other JSON Lines: prompt=question,text=answer,id=key,reference=gold,model=llm.",
        ),
    ] = None,
    models: Annotated[
        Path | None, typer.Option(help="YAML file of sizes and prices: {NAME: {parameters: 8.0e9, input_usd: 0.2}}.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Serving config that has the models, in place of --models and --target.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Target of the records' cascade. Default: the largest model, or the dearest.")
    ] = None,
    tokenizer: Annotated[
        list[str] | None,
        typer.Option(metavar="[MODEL=]PATH", help="Path of a tokenizer.json that counts tokens. Default: estimates."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing records file.")] = False,
) -> None:
    """Make records of answers that somebody else recorded, in the publishers' own formats; no model is called."""
    from serve_app.evaluation.importing.command import Options, import_records

    options = Options(format_, map_, models, config, target, tuple(tokenizer or ()), force)
    import_records(sources, output, options, note_console())
