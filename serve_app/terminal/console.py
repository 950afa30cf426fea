"""The consoles that commands print to: results on standard output, progress and notes on standard error."""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_COLUMNS = 300
"""A pipe has no width of its own; at this one the rows of tables stay on one line."""


def result_console() -> "Console":
    """Return the console for results, as wide as the terminal or COLUMNS say; in a pipe without it, `PIPE_COLUMNS`."""
    from rich.console import Console

    has_width = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return Console(highlight=False, width=None if has_width else PIPE_COLUMNS)


def note_console() -> "Console":
    """Return the console for progress and notes, on standard error."""
    from rich.console import Console

    return Console(stderr=True)
