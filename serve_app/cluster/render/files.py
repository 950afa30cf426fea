"""Write rendered files to a folder, or compare them with those there."""

from dataclasses import dataclass
from pathlib import Path

from serve_app.cluster.manifests import Manifest
from serve_app.cluster.render.worker_groups import WorkerGroup
from serve_app.errors import ConfigError

WRITTEN_BY = "Written by `cascade k8s render"
"""What the first line of a file says by which a later rendering knows it for its own."""


@dataclass(frozen=True)
class Rendered:
    """Manifests as text, and what they amount to.

    `files` are texts by path, `objects` all objects, `cautions` sentences for the user. YAML files in `folders` that an
    earlier rendering wrote are stale if they are not in `files`; a user's own stay.
    """

    files: dict[str, str]
    folders: tuple[str, ...]
    objects: list[Manifest]
    groups: list[WorkerGroup]
    cautions: list[str]


def write(rendered: Rendered, folder: Path) -> list[Path]:
    """Write the files to a folder, and return the stale ones, which were removed.

    Raises ConfigError, with nothing written, if a user's own file is in the way of one.
    """
    if foreign := _foreign_files(rendered, folder):
        paths = ", ".join(map(str, foreign))
        raise ConfigError(f"Not written by `cascade k8s render`: {paths}. Move it, or choose another --output.")
    stale = _stale_files(rendered, folder)
    for path in stale:
        path.unlink()
    for name, text in rendered.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return stale


def check(rendered: Rendered, folder: Path) -> None:
    """Raise ConfigError with the files in a folder that differ from what would be written."""
    stale = [name for name, text in rendered.files.items() if not _has_text(folder / name, text)]
    stale += [str(path.relative_to(folder)) for path in _stale_files(rendered, folder)]
    if stale:
        raise ConfigError(f"Stale files, run `cascade k8s render`: {', '.join(f'{folder / name}' for name in stale)}.")


def _stale_files(rendered: Rendered, folder: Path) -> list[Path]:
    """Return the files in our folders that an earlier rendering wrote, and this one would not."""
    paths = [path for name in sorted(rendered.folders) for path in sorted((folder / name).glob("*.yaml"))]
    return [path for path in paths if str(path.relative_to(folder)) not in rendered.files and _is_ours(path)]


def _foreign_files(rendered: Rendered, folder: Path) -> list[Path]:
    """Return what is there in place of our files, and is not ours.

    Some files of a chart cannot say whose they are: those are ours if they are beside one that does.
    """
    marked = [folder / name for name, text in rendered.files.items() if WRITTEN_BY in _first_line(text)]
    there_before = any(map(_is_ours, marked))
    foreign = []
    for name, text in rendered.files.items():
        path = folder / name
        ours = _is_ours(path) if path in marked else there_before or _has_text(path, text)
        if path.exists() and not ours:
            foreign.append(path)
    return foreign


def _is_ours(path: Path) -> bool:
    return path.is_file() and WRITTEN_BY in _first_line(path.read_text(encoding="utf-8", errors="replace"))


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _has_text(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text
