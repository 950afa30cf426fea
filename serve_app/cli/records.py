"""The commands about records without a model: `cascade import`, `cascade records merge` and `show`."""

from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.errors_and_exit import echo_json, report_errors
from serve_app.cli.evaluation.arguments import Force
from serve_app.terminal.console import note_console, result_console

app = typer.Typer(name="records", help="Records of answers: merge files, show what is in one.", no_args_is_help=True)

Output = Annotated[Path, typer.Option("--output", "-o", metavar="RECORDS", help="Records file to write.")]


@report_errors
def import_(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...", help="Files of recorded answers, plain or .gz; NAME=PATH names a file's model."
        ),
    ],
    output: Output,
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
        typer.Option(
            metavar="[MODEL=]PATH",
            help="Path of a tokenizer.json that counts tokens; may be repeated. Default: estimates.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Make records of published answers, in the publishers' own formats; no model is called."""
    from serve_app.evaluation.importing.command import Options, import_records

    options = Options(format_, map_, models, config, target, tuple(tokenizer or ()), force)
    import_records(sources, output, options, note_console())


@app.command()
@report_errors
def merge(
    records: Annotated[list[Path], typer.Argument(metavar="RECORDS...", help="Records files, two or more.")],
    output: Output,
    force: Force = False,
) -> None:
    """Merge records of other models or examples; what two files both have must be the same."""
    from serve_app.evaluation.records.merge import merge as merged

    merged(records, output, force=force)


@app.command()
@report_errors
def show(
    records: Annotated[Path, typer.Argument(metavar="RECORDS", help="Records file: .jsonl or .jsonl.gz.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Show what is in records: models, examples, tokens, failures, scores, metadata, what is estimated."""
    from serve_app.evaluation.records.file import Records
    from serve_app.evaluation.records.summary import render, summarise

    summary = summarise(Records.load(records))
    if as_json:
        echo_json(summary.to_json())
    else:
        render(summary, result_console())
