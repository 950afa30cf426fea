"""The command line in this process, which imports everything only once."""

from pathlib import Path

from typer.testing import CliRunner, Result

from serve_app.cli.main import app


def cascade(*arguments: str | Path, stdin: str = "") -> Result:
    """Run a command; its exit code and what it prints are those of a process of its own."""
    return CliRunner().invoke(app, [*map(str, arguments)], input=stdin)
