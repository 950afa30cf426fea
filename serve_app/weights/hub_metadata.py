"""What the hub reports without a download: whether it answers, and the SHA-256 of a file."""

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import TypeVar

from serve_app.weights.cache import DownloadError
from serve_app.weights.sources import HubSource

SHA256 = re.compile(r"[0-9a-f]{64}")
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
_PATIENCE_S = 10.0
_FORGET_S = 300.0
_UNREACHABLE: dict[str, float] = {}
"""When a hub did not answer, by its address, as `time.monotonic()`."""
T = TypeVar("T")


def reported_sha256(source: HubSource, patience_s: float | None) -> str | None:
    """Return the SHA-256 that the hub reports for the file, before any download, or None.

    The hub reports it for large files (those in LFS), not for folders. Raises DownloadError if the hub does not answer
    within `patience_s`, or does not have the file or folder.
    """
    if offline():
        return None
    if patience_s is not None and is_unreachable():
        raise DownloadError(f"{endpoint()} could not be reached a moment ago.")
    try:
        return _within(patience_s or _PATIENCE_S, lambda: _etag(source, patience_s or _PATIENCE_S))
    except DownloadError as error:
        if error.__cause__ is None or _is_answer(error.__cause__):
            raise
        _UNREACHABLE[endpoint()] = time.monotonic()
        reason = str(error.__cause__).strip().partition("\n")[0]
        raise DownloadError(f"{endpoint()} cannot be reached: {reason}.") from error.__cause__
    except TimeoutError as error:
        _UNREACHABLE[endpoint()] = time.monotonic()
        raise DownloadError(f"{endpoint()} did not answer within {patience_s or _PATIENCE_S:g} s.") from error


def is_unreachable() -> bool:
    """Return whether the hub did not answer in the last five minutes: only the first of several models waits."""
    silent_since = _UNREACHABLE.get(endpoint())
    return silent_since is not None and time.monotonic() - silent_since < _FORGET_S


def _etag(source: HubSource, timeout_s: float) -> str | None:
    from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

    with hub_errors(source):
        if source.file is None:
            HfApi(endpoint=endpoint()).model_info(source.repo, revision=source.revision or "main", timeout=timeout_s)
            return None
        url = hf_hub_url(source.repo, source.file, revision=source.revision, endpoint=endpoint())
        etag = get_hf_file_metadata(url, timeout=timeout_s).etag
    return etag if etag and SHA256.fullmatch(etag) else None


def _is_answer(error: BaseException | None) -> bool:
    from huggingface_hub.errors import HfHubHTTPError

    return isinstance(error, HfHubHTTPError)


def _within(seconds: float, call: Callable[[], T]) -> T:
    """Return what `call` returns; raises TimeoutError after `seconds`.

    In a thread, because resolving a name has no time limit of its own.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future.result(seconds)


def endpoint() -> str:
    """Return the address of the hub, or of the mirror that HF_ENDPOINT names."""
    # huggingface_hub reads its environment once, when it is imported; these are read at each call.
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def offline() -> bool:
    """Return whether HF_HUB_OFFLINE forbids asking the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


@contextmanager
def hub_errors(source: HubSource) -> Iterator[None]:
    """Turn the library's exceptions, except errors of the disk, into a DownloadError with a sentence."""
    try:
        yield
    # The library changed its HTTP client with each major version and lets that client's errors through.
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        raise DownloadError(_explanation(source, error)) from error


def _explanation(source: HubSource, error: Exception) -> str:
    from huggingface_hub import errors

    repo = f"{source.repo!r} at {endpoint()}"
    revision = source.revision or "main"
    target = f"the file {source.file!r} of {repo}" if source.file else repo
    if isinstance(error, errors.GatedRepoError):
        return f"The repository {repo} is gated: accept its terms there and set HF_TOKEN to a token that may read it."
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"There is no repository {repo}, or it is private: check the name, or set HF_TOKEN."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"The repository {repo} has no revision {revision!r}."
    if isinstance(error, errors.LocalEntryNotFoundError) and offline():
        return f"HF_HUB_OFFLINE is set, and the cache does not hold {target}, revision {revision!r}."
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return f"The repository {repo} has no file {source.file!r} at revision {revision!r}."
    # The library only says "check your connection"; the exception's cause is more precise.
    cause = error.__cause__ or error
    first_line = str(cause).strip().partition("\n")[0]
    return f"Could not fetch {target}, revision {revision!r}: {type(cause).__name__}: {first_line}."
