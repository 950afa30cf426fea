"""The keys in force: those of a file, which is read again when it changes."""

import logging
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TypeAlias

from starlette.datastructures import Headers

from serve_app.config.key_file import ApiKey, KeyFile, read_keys
from serve_app.errors import ConfigError

logger = logging.getLogger("ray.serve")

LOOK_AGAIN_S = 1.0
"""How long the file is taken as unchanged, so that requests do not wait for a disk."""

_Stamp: TypeAlias = tuple[int, ...] | None


class KeyRing:
    """Looks up keys. Raises `ConfigError` if the file cannot be used when the server starts.

    A file that cannot be used later changes nothing: the keys that were read last stay in force, and `refused` has the
    reason. `clock` returns seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        self._path = path
        self._clock = clock
        self._stamp = _stamp(path)
        self._file = read_keys(path)
        self._looked = clock()
        self.refused: str | None = None

    def owner(self, headers: Headers) -> tuple[str, ApiKey] | None:
        """Return the name and the rights of the key in a request's headers, or None if no key is valid."""
        secret = presented_key(headers)
        keys = self._current()
        name = None if secret is None else keys.name_of(secret)
        return None if name is None else (name, keys.api_keys[name])

    def _current(self) -> KeyFile:
        now = self._clock()
        if now - self._looked >= LOOK_AGAIN_S:
            self._looked = now
            # The stamp comes first: what is written while the file is read, is read the next time.
            if (stamp := _stamp(self._path)) != self._stamp:
                self._stamp = stamp
                self._read()
        return self._file

    def _read(self) -> None:
        try:
            self._file = read_keys(self._path)
            self.refused = None
        except ConfigError as error:
            self._stamp = None  # read again at the next look: what was wrong may pass without a change of the file
            if str(error) != self.refused:
                self.refused = str(error)
                logger.error("The API keys have not changed, since their file cannot be used: %s", error)


def presented_key(headers: Headers) -> str | None:
    """Return the key that a request has in `Authorization: Bearer`, or else in `x-api-key`."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    return headers.get("x-api-key") or None


def _stamp(path: Path) -> _Stamp:
    """Return what changes when a file is written or replaced, or its owner or mode is."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
