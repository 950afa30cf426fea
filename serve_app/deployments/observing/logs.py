"""What happens to lines of a log that cannot be written."""

import logging


def drop_unwritable_lines() -> None:
    """Drop lines that the logs of this process cannot hold, such as on a full disk, silently.

    By default Python's logging prints a traceback to stderr. Ray Serve passes stderr on to the same log, which fails
    again, and so on: on a full disk one line kept a router busy until it was killed, and wrote 100 MB of tracebacks as
    soon as there was room (`make chaos`).
    """
    logging.raiseExceptions = False
