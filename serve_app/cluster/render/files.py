"""Write rendered files to a folder, or compare them with those there."""

from dataclasses import dataclass
from pathlib import Path

from serve_app.cluster.manifests import Manifest
from serve_app.cluster.render.worker_groups import WorkerGroup
from serve_app.errors import ConfigError


@dataclass(frozen=True)
class Rendered:
    """Manifests as text, and what they amount to.

    `files` are texts by path, `objects` all objects, `cautions` sentences for the user. All YAML files in `folders` are
    ours: those that are not in `files` are stale.
    """

    files: dict[str, str]
    folders: tuple[str, ...]
    objects: list[Manifest]
    groups: list[WorkerGroup]
    cautions: list[str]


def write(rendered: Rendered, folder: Path) -> None:
    """Write the files to a folder, and remove stale ones."""
    for path in _stale_files(rendered, folder):
        path.unlink()
    for name, text in rendered.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def check(rendered: Rendered, folder: Path) -> None:
    """Raise ConfigError with the files in a folder that differ from what would be written."""
    stale = [name for name, text in rendered.files.items() if not _has_text(folder / name, text)]
    stale += [str(path.relative_to(folder)) for path in _stale_files(rendered, folder)]
    if stale:
        raise ConfigError(f"Stale files, run `cascade k8s render`: {', '.join(f'{folder / name}' for name in stale)}.")


def _stale_files(rendered: Rendered, folder: Path) -> list[Path]:
    """Return the files in our folders that rendering would not write."""
    paths = [path for name in sorted(rendered.folders) for path in sorted((folder / name).glob("*.yaml"))]
    return [path for path in paths if str(path.relative_to(folder)) not in rendered.files]


def _has_text(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
