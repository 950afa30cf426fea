"""The cache on disk: `<home>/weights/<name>-<12 hex digits>/` with a `source.json` beside the file.

An entry counts only once its `source.json` is written, which is the last step, so a partial file is never used. Paths
in it are relative to the home: the folder can be copied to another machine. Reading a complete entry writes nothing, so
the home may be a read-only volume.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from serve_app.errors import WeightsError
from serve_app.files.whole_file import whole_file
from serve_app.weights.progress import ProgressTask

_WAIT_NOTICE_S = 3.0


class DownloadError(WeightsError):
    """The index or the hub did not deliver; `fetch` adds what to do without a network."""


def cache_home() -> Path:
    """Return `$CASCADE_HOME`, or `semantic-cascade` in the user's cache folder.

    Raises WeightsError if the user has neither.
    """
    try:
        if home := os.environ.get("CASCADE_HOME"):
            return Path(home).expanduser().absolute()
        user_cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        return (user_cache / "semantic-cascade").absolute()
    except RuntimeError as error:  # no HOME and no entry in the password file, as in some containers
        raise WeightsError(f"There is no cache folder for weights ({error}): set CASCADE_HOME to one.") from error


@dataclass(frozen=True)
class _Record:
    uri: str
    path: str
    bytes: int | None  # None for a folder
    sha256: str | None  # of the file, or of the zip that was unpacked


@dataclass(frozen=True)
class Entry:
    """One verified file or folder in the cache."""

    home: Path
    name: str
    digits: str

    @property
    def folder(self) -> Path:
        """Return the folder of this entry's files."""
        return self.home / "weights" / f"{self.name}-{self.digits}"

    def cached(self, sha256: str | None = None) -> Path | None:
        """Return the complete file or folder, or None. With `sha256` its whole digest must be that one.

        The entry's name has only 12 of its digits, and two files can be made to agree in those.
        """
        record = self._record()
        if record is None or (sha256 and record.sha256 != sha256):
            return None
        path = self.home / record.path
        if record.bytes is None:
            return path if path.is_dir() else None
        try:
            return path if path.stat().st_size == record.bytes else None
        except OSError:
            return None

    def _record(self) -> _Record | None:
        try:
            return _Record(**json.loads((self.folder / "source.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def publish(self, uri: str, path: Path, sha256: str | None) -> Path:
        """Record `path` as this entry's content and return it."""
        stored = str(path.relative_to(self.home)) if path.is_relative_to(self.home) else str(path)
        record = _Record(uri, stored, path.stat().st_size if path.is_file() else None, sha256)
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self.folder / "source.json") as partial:
            partial.write_text(json.dumps(asdict(record), indent=2) + "\n")
        return path

    @contextmanager
    def locked(self, task: ProgressTask) -> Iterator[None]:
        """Hold this entry alone on this node; the system frees the lock of a process that dies."""
        from filelock import FileLock, Timeout

        path = self.home / "locks" / f"{self.name}-{self.digits}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=_WAIT_NOTICE_S)
        except Timeout:
            task.message(f"{self.name}: waiting for another process that is fetching it (lock {path}).")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


@contextmanager
def os_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into a sentence, which names `path` if the error names no path."""
    try:
        yield
    except OSError as error:
        raise WeightsError(
            f"The weights could not be stored: {error.filename or path}: {error.strerror or error}. "
            "Make room or allow writing there, or set CASCADE_HOME to another folder."
        ) from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_of_digest(home: Path, sha256: str) -> Path | None:
    """Return the file with this SHA-256 (or the folder of the zip with it), whatever source it came from, or None."""
    for folder in sorted((home / "weights").glob(f"*-{sha256[:12]}")):
        entry = Entry(home, folder.name.removesuffix(f"-{sha256[:12]}"), sha256[:12])
        if path := entry.cached(sha256):
            return path
    return None


def is_zip(name: str) -> bool:
    """Return whether a file of this name is unpacked."""
    return name.lower().endswith(".zip")


def hex12(text: str) -> str:
    """Return 12 hexadecimal digits of the digest of `text`, for the name of an entry."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]
