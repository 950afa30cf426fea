"""`cascade collect`: ask every model, and record the answers."""

from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.arguments import ConfigPath
from serve_app.cli.errors_and_exit import report_errors
from serve_app.errors import UsageError
from serve_app.terminal.console import note_console


@report_errors
def collect(
    config: ConfigPath,
    data: Annotated[
        list[str], typer.Argument(metavar="DATA...", help="JSON Lines files of examples, or hf-datasets:NAME.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="RECORDS", help="Records file; an existing one is resumed.")
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of examples from each of DATA.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of a random sample, in place of the first examples; with --limit.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Concurrent requests; models are queried one after another.")
    ] = 4,
    url: Annotated[
        str | None, typer.Option(help="URL of a running server, in place of engines in this process.")
    ] = None,
    retry_failures: Annotated[bool, typer.Option(help="Ask again for failed answers.")] = False,
    prompts: Annotated[
        Path | None, typer.Option(help="Folder of prompts, TASK.txt, in place of the built-in ones.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Token limit of an answer, for every task.")] = None,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Seconds after which a request counts as failed.")] = 600,
) -> None:
    """Ask every model of the cascades every example once, and record the answers. Run again to resume."""
    from serve_app.evaluation.collect import collect as collecting

    if seed is not None and limit is None:
        raise UsageError("--seed: has no effect without --limit.")
    options = collecting.Options(limit, seed, concurrency, url, retry_failures, prompts, max_tokens, timeout_s)
    collecting.collect(config, data, output, options, note_console())
