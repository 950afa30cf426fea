"""Arguments that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="Ray Serve config file.")]
ConfigOrQuickstart = Annotated[
    Path | None,
    typer.Argument(metavar="[CONFIG]", help="Ray Serve config file; without it, the quickstart (cascade config)."),
]
