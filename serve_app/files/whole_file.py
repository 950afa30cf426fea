"""Files that are written as a whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which becomes `path` at the end; on an error `path` stays as it is.

    A link is followed: its target is what is replaced. A file that is replaced keeps its permissions, and has them
    while it is written. What is no regular file, such as a pipe at /dev/stdout, is written to directly. Raises OSError
    if the file cannot be written.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = path.resolve()
    partial = _created(target)
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())  # else a power cut could leave the name without the bytes
        partial.replace(target)
    except BaseException:
        with suppress(OSError):  # what kept it from being written may keep it from being removed
            partial.unlink(missing_ok=True)
        raise


def _created(target: Path) -> Path:
    """Create an empty file beside the target, with its permissions: it may hold secrets. Return the path."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)  # of a killed process with the same id
    mode = target.stat().st_mode & 0o777 if target.exists() else None
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else mode)
    with os.fdopen(descriptor, "wb"):
        if mode is not None:
            os.fchmod(descriptor, mode)  # the umask may have taken some of them
    return partial
