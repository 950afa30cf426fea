"""Errors, JSON output and exit of the command line."""

import atexit
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from functools import wraps
from math import isfinite
from typing import Any, NoReturn, ParamSpec

import typer
from typer.core import TyperGroup

from serve_app.cli.interrupts import STATUS, is_interrupt
from serve_app.common.secrecy import without_secrets
from serve_app.config.explain import plain
from serve_app.errors import CascadeError, ConfigError, UsageError

P = ParamSpec("P")


def report_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command print errors of ours and exit: 2 if command line or config are invalid, 130 for Ctrl-C, else 1.

    Every number must be finite, of which click's own `min` and `max` say nothing.
    """

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        _check_finite(kwargs)
        try:
            command(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            if is_interrupt(error):
                raise typer.Exit(STATUS) from None
            if not isinstance(error, CascadeError):
                raise
            typer.echo(f"cascade: {without_secrets(str(error))}", err=True)
            raise typer.Exit(2 if isinstance(error, (ConfigError, UsageError)) else 1) from None

    return run


class Group(TyperGroup):
    """Commands whose invalid options are explained as a config's fields are, in place of by pydantic's own words."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = f"{plain(error.message)}."
            raise


def _check_finite(options: Mapping[str, object]) -> None:
    """Raise click's error for the first option that is NaN or infinite."""
    for name, value in options.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and not isfinite(number):
                hint = f"'--{name.replace('_', '-')}'"
                raise typer.BadParameter(f"must be a finite number, got {number:g}", param_hint=hint)


def echo_json(body: Any, indent: int | None = None) -> None:
    """Print one value as JSON; in ASCII if the output cannot encode a text, such as half of a surrogate pair."""
    try:
        typer.echo(json.dumps(body, ensure_ascii=False, indent=indent))
    except UnicodeEncodeError:
        typer.echo(json.dumps(body, indent=indent))


def exit_process(status: int) -> NoReturn:
    """Exit like `sys.exit`. If Ray was imported, skip interpreter teardown: Ray's native threads crash during it.

    These threads (of gRPC, and one that harvests metrics) outlive `ray.shutdown`: of some ten long test runs two ended
    with a segmentation fault after their last output.
    """
    if "ray" not in sys.modules:
        sys.exit(status)
    # The first steps of Python's own exit, and of multiprocessing's children: join threads, then call exit handlers.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
