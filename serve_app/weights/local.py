"""Files and folders that are on this machine already: checked and unpacked, never downloaded."""

from contextlib import suppress
from pathlib import Path

from serve_app.errors import WeightsError
from serve_app.weights.archive import unpack
from serve_app.weights.cache import Entry, file_sha256, hex12, is_zip, os_errors
from serve_app.weights.origin import Origin, folder_digest, mismatch
from serve_app.weights.progress import ProgressTask
from serve_app.weights.sources import LocalSource


def existing(source: LocalSource) -> Path | None:
    """Return the absolute path, or None if nothing is there. Raises WeightsError if the path cannot be read."""
    path = _absolute(source)
    try:
        return path if path.exists() else None
    except OSError as error:  # a name that is too long, or a folder that may not be entered
        raise WeightsError(f"The weights {str(source.path)!r} cannot be found: {error.strerror}.") from error


def ready(source: LocalSource, sha256: str | None, home: Path) -> Path | None:
    """Return the path if it can be used as it is or was checked before, else None."""
    path = existing(source)
    if path is None or (path.is_dir() and sha256):
        return None
    if path.is_dir() or not (sha256 or is_zip(path.name)):
        return path
    return _entry(path, sha256, home).cached(sha256)


def prepare(origin: Origin, source: LocalSource, home: Path, task: ProgressTask) -> Path:
    """Return the path after a check of its SHA-256; a zip is unpacked into the cache.

    Raises WeightsError if the path does not exist or has another SHA-256.
    """
    path = existing(source)
    if path is None:
        raise WeightsError(
            f"The weights {origin.uri!r} do not exist: there is no file or folder {_absolute(source)}. "
            "A relative path starts at the current directory."
        )
    if path.is_dir() and origin.sha256:
        raise folder_digest(origin.uri)
    if path.is_dir() or not (origin.sha256 or is_zip(path.name)):
        return path
    task.update("checking")
    if origin.sha256:
        with os_errors(path):
            actual = file_sha256(path)
        if actual != origin.sha256:
            raise mismatch(origin.uri, origin.sha256, actual, "the file is left as it is")
    entry = _entry(path, origin.sha256, home)
    if is_zip(path.name):
        return _unpacked(origin, path, entry, task)
    with suppress(OSError):  # only spares the next check: a read-only home is no reason to fail
        entry.publish(origin.uri, path, origin.sha256)
    return path


def _unpacked(origin: Origin, path: Path, entry: Entry, task: ProgressTask) -> Path:
    task.update("unpacking")
    with entry.locked(task):
        if folder := entry.cached(origin.sha256):
            return folder
        entry.folder.mkdir(parents=True, exist_ok=True)
        return entry.publish(origin.uri, unpack(path, entry.folder / path.stem), origin.sha256)


def _entry(path: Path, sha256: str | None, home: Path) -> Entry:
    # With size and time in the entry's name, a file that changes is looked at again.
    status = path.stat()
    return Entry(home, path.name, hex12(f"{path} {status.st_size} {status.st_mtime_ns} {sha256}"))


def _absolute(source: LocalSource) -> Path:
    try:
        return source.path.expanduser().absolute()
    except RuntimeError as error:
        raise WeightsError(f"The weights {str(source.path)!r} cannot be found: {error}") from error
