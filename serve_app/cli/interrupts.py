"""Ctrl-C: when it ends the process at once, and when it raises KeyboardInterrupt. Imports only what is fast."""

import os
import signal
from types import FrameType

STATUS = 130
"""Exit status of a command that Ctrl-C ended, as shells have it: 128 and the signal's number."""


def end_on_ctrl_c() -> None:
    """End the process at Ctrl-C, silently, while nothing is to be cleaned up: during imports, and after the command.

    An exception would not do: a library that is interrupted while it is imported may catch it or report another.
    """
    _handle(signal.default_int_handler, _end)


def raise_on_ctrl_c() -> None:
    """Raise `KeyboardInterrupt` at Ctrl-C again, for a command that has something to clean up."""
    _handle(_end, signal.default_int_handler)


def is_interrupt(error: BaseException) -> bool:
    """Return whether Ctrl-C caused an error: a library interrupted during its import may raise an ImportError."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _handle(old: object, new: "signal._HANDLER") -> None:
    """Replace a handler, but no other: a shell starts commands in the background with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is old:
        signal.signal(signal.SIGINT, new)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(STATUS)
