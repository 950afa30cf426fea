"""What every command of the command line shares."""

import atexit
import json
import os
import sys
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, ParamSpec

import typer

from serve_app.errors import CascadeError, ConfigError

P = ParamSpec("P")


def sentences(command: Callable[P, None]) -> Callable[P, None]:
    """Errors of ours end the command with their sentence: exit code 2 for a bad config, 1 for the rest."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except CascadeError as error:
            typer.echo(f"cascade: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run


def echo_json(body: Any, indent: int | None = None) -> None:
    """One value for machines; in ASCII where the output cannot say a text, such as half of a surrogate pair."""
    try:
        typer.echo(json.dumps(body, ensure_ascii=False, indent=indent))
    except UnicodeEncodeError:
        typer.echo(json.dumps(body, indent=indent))


def leave(status: int) -> NoReturn:
    """Ends this process as `sys.exit` does, but where Ray was imported without freeing what native threads work on.

    Ray's threads (of gRPC, and one that harvests metrics) outlive `ray.shutdown` and the destructors that run at an
    exit: of some ten long test runs two died of a segmentation fault after their last word.
    """
    if "ray" not in sys.modules:
        sys.exit(status)
    # As Python does before it takes itself down, and multiprocessing in its children: threads that are no daemons, then
    # what was registered.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
