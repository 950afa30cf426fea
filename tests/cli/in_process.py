"""The command line in this process, which imports everything only once."""

from pathlib import Path

from typer.testing import CliRunner, Result

from serve_app.cli.commands import app


def cascade(*arguments: str | Path, stdin: str = "") -> Result:
    """Run a command. Its exit code and output are those of a process of its own."""
    return CliRunner().invoke(app, [*map(str, arguments)], input=stdin)
