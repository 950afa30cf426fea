"""Files and snapshots from the Hugging Face hub, or a mirror named by HF_ENDPOINT."""

import errno
import inspect
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from serve_app.errors import WeightsError
from serve_app.weights.cache import DownloadError
from serve_app.weights.progress import ProgressTask
from serve_app.weights.sources import HubSource

# The same weights again, as published before or for frameworks that no engine here uses: often several times the size
# of the rest.
_OTHER_FRAMEWORKS = [
    "original/*",
    "*.h5",
    "*.msgpack",
    "*.ot",
    "*.tflite",
    "*.onnx",
    "*.onnx_data",
    "onnx/*",
    "openvino/*",
]
_WEIGHTS = {".safetensors", ".bin", ".gguf", ".pt", ".pth"}
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def hub_cache(home: Path) -> Path:
    """The user's own hub cache if HF_HUB_CACHE or HF_HOME names one, so that models are not stored twice."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser().absolute()
    if hf_home := os.environ.get("HF_HOME"):
        return Path(hf_home).expanduser().absolute() / "hub"
    return home / "hub"


def download(source: HubSource, cache: Path, task: ProgressTask) -> tuple[Path, bool]:
    """Fetch what is missing (interrupted files are resumed).

    Returns the file or the snapshot's folder, and whether it is known to be whole: of a folder only the hub can say.
    """
    return _from_hub(source, cache, offline=_offline(), task=task)


def in_hub_cache(source: HubSource, cache: Path) -> Path | None:
    """It, in the hub's own cache, without asking the network; None if that is not all, as far as one can see."""
    try:
        path, _ = _from_hub(source, cache, offline=True, task=None)
    except WeightsError:
        return None
    return path if path.exists() else None


def delete(path: Path) -> None:
    """Remove a file from the hub's cache: the name and the blob that it links to."""
    blob = path.resolve()
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)


def _from_hub(source: HubSource, cache: Path, *, offline: bool, task: ProgressTask | None) -> tuple[Path, bool]:
    from huggingface_hub import hf_hub_download, snapshot_download

    options: dict[str, Any] = {
        "revision": source.revision,
        "cache_dir": cache,
        "endpoint": _endpoint(),
        "local_files_only": offline,
    }
    call = snapshot_download if source.file is None else hf_hub_download
    # hf_hub_download takes a bar of ours since version 1; before, it shows its own.
    if task is not None and "tqdm_class" in inspect.signature(call).parameters:
        options["tqdm_class"] = _bar_class(task)
    if source.file is not None:
        with _hub_errors(source):
            return Path(hf_hub_download(source.repo, source.file, **options)), True
    listing = None if offline else _listing(source)
    ignored = [*_OTHER_FRAMEWORKS, *(["*pytorch_model*.bin*"] if listing is None else _pickled(listing))]
    with _hub_errors(source):
        folder = Path(snapshot_download(source.repo, ignore_patterns=ignored, **options))
    # Where the hub is out of reach the library gives what there is, though another program may have fetched no more
    # than the tokenizer.
    missing = _missing_parts(folder) if listing is None else _missing_listed(folder, listing, ignored)
    if missing:
        raise DownloadError(
            f"The cache holds only a part of {source.repo!r}, without {', '.join(missing[:3])}"
            f"{f' and {len(missing) - 3} more' if missing[3:] else ''}, and {_endpoint()} was not asked for the "
            "rest or did not answer."
        )
    return folder, listing is not None


def _listing(source: HubSource) -> list[str] | None:
    """The names of the repository's files; None if the hub does not say, which the download then meets, too."""
    from huggingface_hub import HfApi

    try:
        with _hub_errors(source):
            siblings = HfApi(endpoint=_endpoint()).model_info(source.repo, revision=source.revision or "main").siblings
    except DownloadError:
        return None
    return [file.rfilename for file in siblings or []]


def _missing_listed(folder: Path, listing: Iterable[str], ignored: list[str]) -> list[str]:
    from huggingface_hub.utils import filter_repo_objects

    wanted: Iterable[str] = filter_repo_objects(listing, ignore_patterns=ignored)
    return [name for name in wanted if not (folder / name).is_file()]


def _missing_parts(folder: Path) -> list[str]:
    """What a model's folder must have, by itself: weights, and each part that an index of theirs names."""
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    if not any(file.suffix in _WEIGHTS for file in files):
        return ["any file of weights"]
    return [
        str(part)
        for index in files
        if index.name.endswith(".safetensors.index.json")
        for part in sorted({index.parent / name for name in _indexed(folder / index)} - files)
    ]


def _indexed(index: Path) -> list[str]:
    try:
        return list(json.loads(index.read_text())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return []  # the engine that reads it says so


def _pickled(names: Iterable[str]) -> list[str]:
    paths = [PurePosixPath(name) for name in names]
    safe = {path.parent for path in paths if path.match("model*.safetensors")}
    return [str(path) for path in paths if path.match("pytorch_model*.bin*") and path.parent in safe]


def _endpoint() -> str:
    # huggingface_hub reads its environment once, when it is imported; these are read at each call.
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


@contextmanager
def _hub_errors(source: HubSource) -> Iterator[None]:
    try:
        yield
    # The library changed its HTTP client with each major version and lets that client's errors through.
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        raise DownloadError(_explanation(source, error)) from error


def _explanation(source: HubSource, error: Exception) -> str:
    from huggingface_hub import errors

    repo = f"{source.repo!r} at {_endpoint()}"
    revision = source.revision or "main"
    wanted = f"the file {source.file!r} of {repo}" if source.file else repo
    if isinstance(error, errors.GatedRepoError):
        return f"The repository {repo} is gated: accept its terms there and set HF_TOKEN to a token that may read it."
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"There is no repository {repo}, or it is private: check the name, or set HF_TOKEN."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"The repository {repo} has no revision {revision!r}."
    if isinstance(error, errors.LocalEntryNotFoundError) and _offline():
        return f"HF_HUB_OFFLINE is set, and the cache does not hold {wanted}, revision {revision!r}."
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return f"The repository {repo} has no file {source.file!r} at revision {revision!r}."
    cause = error.__cause__ or error  # the library says "check your connection"; what it met says more
    first_line = str(cause).strip().partition("\n")[0]
    return f"Could not fetch {wanted}, revision {revision!r}: {type(cause).__name__}: {first_line}."


def _bar_class(task: ProgressTask) -> type:
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # untyped library
        """Passes the hub's byte counts on; draws nothing itself."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # Besides bytes written there are bars for bytes on the wire and for the number of files.
            self._counts = kwargs.get("unit") == "B" and kwargs.get("desc") != "Downloading bytes"
            self._done = int(kwargs.get("initial") or 0)
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self._done += int(n or 0)
            if self._counts:
                task.update("downloading", self._done, self.total or None)

    return Bar
