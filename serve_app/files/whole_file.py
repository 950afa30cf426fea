"""Files that are written as a whole, or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp

REFUSALS = frozenset({errno.EACCES, errno.EBUSY, errno.EPERM, errno.EROFS, errno.EXDEV})
"""Of a folder that takes no other file, or of a file that is mounted by itself, as a container's config may be."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which becomes `path` at the end; on an error `path` stays as it is.

    A link is followed: its target is what is replaced. A file that is replaced keeps its permissions, and has them
    while it is written. If its folder refuses to have it replaced, the complete content is copied into it; only then
    can a full disk leave half of it. A path that is not a regular file, such as a pipe at /dev/stdout, is written to
    directly. Raises OSError if the file cannot be written; a write-protected one is not replaced, not even by root.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = path.resolve()
    if write_protected(target):
        raise PermissionError(errno.EACCES, "it is write-protected", str(target))
    partial = _created(target)
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())  # else a power cut could leave the name without the bytes
        _replace(partial, target)
    finally:
        with suppress(OSError):  # what kept it from being written may keep it from being removed
            partial.unlink(missing_ok=True)


def write_protected(path: Path) -> bool:
    """Return whether there is a file whose permissions let nobody write it."""
    return path.exists() and not path.stat().st_mode & 0o222


def _created(target: Path) -> Path:
    """Create an empty file with the target's permissions, for it may hold secrets, and return its path.

    It is beside the target, or among the temporary files if that is refused and there is a target to copy it into.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    mode = target.stat().st_mode & 0o777 if target.exists() else None
    try:
        partial.unlink(missing_ok=True)  # of a killed process with the same id
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else mode)
    except OSError as error:
        if error.errno not in REFUSALS or not os.access(target, os.W_OK):
            raise
        descriptor, name = mkstemp()
        os.close(descriptor)
        return Path(name)  # which its owner alone may read
    with os.fdopen(descriptor, "wb"):
        if mode is not None:
            os.fchmod(descriptor, mode)  # the umask may have taken some of them
    return partial


def _replace(partial: Path, target: Path) -> None:
    try:
        partial.replace(target)
    except OSError as error:
        if error.errno not in REFUSALS or not target.exists():
            raise
        with partial.open("rb") as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
