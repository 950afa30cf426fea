"""Files and snapshots from the Hugging Face hub, or a mirror named by HF_ENDPOINT."""

import inspect
import json
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from serve_app.errors import WeightsError
from serve_app.weights.cache import DownloadError, file_sha256
from serve_app.weights.hub_metadata import SHA256, endpoint, hub_errors, offline
from serve_app.weights.progress import ProgressTask
from serve_app.weights.sources import HubSource

# The same weights in older formats or for frameworks that no engine here uses, often several times as large as the
# rest.
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


def hub_cache(home: Path) -> Path:
    """Return the user's own hub cache if HF_HUB_CACHE or HF_HOME names one, so that models are not stored twice."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser().absolute()
    if hf_home := os.environ.get("HF_HOME"):
        return Path(hf_home).expanduser().absolute() / "hub"
    return home / "hub"


def download(source: HubSource, cache: Path, task: ProgressTask) -> tuple[Path, bool]:
    """Fetch what is missing (interrupted files are resumed).

    Return the file or the snapshot's folder, and whether it is certainly complete: for a folder only the hub can tell.
    Raises DownloadError with the reason.
    """
    return _from_hub(source, cache, local_only=offline(), task=task)


def in_hub_cache(source: HubSource, cache: Path, sha256: str | None = None) -> Path | None:
    """Return the file or folder in the hub's own cache, without asking the network.

    None if it is incomplete, as far as one can see offline, or if it is a file with another SHA-256.
    """
    try:
        path, _ = _from_hub(source, cache, local_only=True, task=None)
    except WeightsError:
        return None
    if not path.exists() or (sha256 and _blob_sha256(path) != sha256):
        return None
    return path


def _blob_sha256(path: Path) -> str:
    # The name is a link to a blob, which the library names by its SHA-256 if it is large. Others are hashed.
    blob = path.resolve().name
    return blob if SHA256.fullmatch(blob) else file_sha256(path)


def delete(path: Path) -> None:
    """Remove a file from the hub's cache: the name and the blob that it links to."""
    blob = path.resolve()
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)


def _from_hub(source: HubSource, cache: Path, *, local_only: bool, task: ProgressTask | None) -> tuple[Path, bool]:
    from huggingface_hub import hf_hub_download, snapshot_download

    options: dict[str, Any] = {
        "revision": source.revision,
        "cache_dir": cache,
        "endpoint": endpoint(),
        "local_files_only": local_only,
    }
    call = snapshot_download if source.file is None else hf_hub_download
    # hf_hub_download takes a bar of ours since version 1; before, it shows its own.
    if task is not None and "tqdm_class" in inspect.signature(call).parameters:
        options["tqdm_class"] = _bar_class(task)
    if source.file is not None:
        with hub_errors(source):
            return Path(hf_hub_download(source.repo, source.file, **options)), True
    listing = None if local_only else _listing(source)
    ignored = [*_OTHER_FRAMEWORKS, *(["*pytorch_model*.bin*"] if listing is None else _pickled(listing))]
    with hub_errors(source):
        folder = Path(snapshot_download(source.repo, ignore_patterns=ignored, **options))
    # If the hub is out of reach the library returns what the cache has, which may be no more than a tokenizer that
    # another program fetched.
    missing = _missing_parts(folder) if listing is None else _missing_listed(folder, listing, ignored)
    if missing:
        raise DownloadError(
            f"The cache holds only a part of {source.repo!r}, without {', '.join(missing[:3])}"
            f"{f' and {len(missing) - 3} more' if missing[3:] else ''}, and {endpoint()} was not asked for the "
            "rest or did not answer."
        )
    return folder, listing is not None


def _listing(source: HubSource) -> list[str] | None:
    """Return the names of the repository's files, or None if the hub does not answer; the download then fails, too."""
    from huggingface_hub import HfApi

    try:
        with hub_errors(source):
            siblings = HfApi(endpoint=endpoint()).model_info(source.repo, revision=source.revision or "main").siblings
    except DownloadError:
        return None
    return [file.rfilename for file in siblings or []]


def _missing_listed(folder: Path, listing: Iterable[str], ignored: list[str]) -> list[str]:
    from huggingface_hub.utils import filter_repo_objects

    names: Iterable[str] = filter_repo_objects(listing, ignore_patterns=ignored)
    return [name for name in names if not (folder / name).is_file()]


def _missing_parts(folder: Path) -> list[str]:
    """Return what a model's folder lacks: any weights, or parts that an index in the folder names."""
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
        return []  # the engine that reads it raises the error


def _pickled(names: Iterable[str]) -> list[str]:
    paths = [PurePosixPath(name) for name in names]
    safe = {path.parent for path in paths if path.match("model*.safetensors")}
    return [str(path) for path in paths if path.match("pytorch_model*.bin*") and path.parent in safe]


def _bar_class(task: ProgressTask) -> type:
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # untyped library
        """Passes the hub's byte counts to our task, without a bar of its own."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # Besides bytes written there are bars for bytes on the wire and for the number of files.
            self._counts = kwargs.get("unit") == "B" and kwargs.get("desc") != "Downloading bytes"
            self._written_bytes = int(kwargs.get("initial") or 0)
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self._written_bytes += int(n or 0)
            if self._counts:
                task.update("downloading", self._written_bytes, self.total or None)

    return Bar
