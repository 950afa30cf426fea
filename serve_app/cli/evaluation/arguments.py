"""Arguments that several of these commands have."""

from pathlib import Path
from typing import Annotated

import typer

RecordsPath = Annotated[
    Path, typer.Argument(metavar="RECORDS", help="File that cascade collect wrote: .jsonl or .jsonl.gz.")
]
Members = Annotated[
    str | None, typer.Option(help="Members of a cascade that is not in the config, such as a,b,c; with --target.")
]
Target = Annotated[str | None, typer.Option(help="Model that --members defer to.")]
Signals = Annotated[
    str | None, typer.Option(help="Signals to evaluate, such as sbert,rougeL. Default: all that are available.")
]
Metrics = Annotated[
    str | None,
    typer.Option(
        "--metric",
        help="Quality metrics, the main one first, for all (f1,exact_match) or by task or data set "
        "(translation=bleurt,squad=accuracy). Default: each task's own.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=VALUE",
        help="Only examples with this task, source or metadata.NAME; several of one field are alternatives.",
    ),
]
CascadesOf = Annotated[
    Path | None, typer.Option("--config", help="Serving config whose cascades and prices replace those of the records.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the split of the examples and of the bootstrap.")]


def listed(names: str | None) -> tuple[str, ...] | None:
    """Return the names of an option such as a,b,c, or None without it."""
    return None if names is None else tuple(name.strip() for name in names.split(",") if name.strip())
