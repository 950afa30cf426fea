"""Entry point of the `cascade` command; imports little, since the commands take a second or more to import."""

import atexit
import signal

from serve_app.cli.interrupts import end_on_ctrl_c, raise_on_ctrl_c


def main() -> None:
    """Run the command that the arguments name, and exit; Ctrl-C ends it with status 130 from here on."""
    end_on_ctrl_c()
    # The first to be registered is the last to run: Python's own teardown would let Ctrl-C kill a command that is done.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    from serve_app.cli.commands import app
    from serve_app.cli.errors_and_exit import exit_process

    raise_on_ctrl_c()
    try:
        app()
    except SystemExit as end:
        end_on_ctrl_c()
        exit_process(end.code if isinstance(end.code, int) else int(end.code is not None))
