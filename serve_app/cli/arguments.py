"""Arguments that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A Ray Serve config file, see configs/.")]
