"""Files that are written as a whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which becomes `path` at the end; on an error `path` stays as it is.

    A link is followed: its target is what is replaced. A file that is replaced keeps its permissions. What is no
    regular file, such as a pipe at /dev/stdout, is written to directly. Raises OSError if the file cannot be written.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            if target.exists():
                os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
            os.fsync(file.fileno())  # else a power cut could leave the name without the bytes
        partial.replace(target)
    except BaseException:
        with suppress(OSError):  # what kept it from being written may keep it from being removed
            partial.unlink(missing_ok=True)
        raise
