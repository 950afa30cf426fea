"""Sources that can change under the same name, and what to write so that they cannot."""

from collections.abc import Sequence
from pathlib import Path

from serve_app.weights.cache import file_sha256
from serve_app.weights.origin import COMMIT, Origin, parse_origins
from serve_app.weights.sources import HubSource


def unpinned(weights: str | Sequence[str], sha256: str | None) -> list[str]:
    """Return the hub's URIs with neither a commit nor a SHA-256: their owner can change what they give."""
    return [origin.uri for origin in parse_origins(weights, sha256) if _can_change(origin)]


def pinned(weights: str | Sequence[str], sha256: str | None, path: Path) -> tuple[str, str] | None:
    """Return the field and the value that pin what was fetched to `path`; None if it is pinned or cannot be.

    A file has a digest. A folder has its commit, by which the hub's library names the folder of a snapshot.
    """
    origins = parse_origins(weights, sha256)
    if not any(map(_can_change, origins)):
        return None
    if path.is_file():
        return "sha256", file_sha256(path)
    source = origins[0].source
    if len(origins) == 1 and isinstance(source, HubSource) and COMMIT.fullmatch(path.name):
        return "weights", f"hf://{source.repo}@{path.name}"
    return None


def _can_change(origin: Origin) -> bool:
    source = origin.source
    return isinstance(source, HubSource) and not origin.sha256 and not COMMIT.fullmatch(source.revision or "")
