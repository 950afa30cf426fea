"""The sources of one file or folder, each with the SHA-256 that applies to it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.errors import WeightsError
from serve_app.weights.sources import HubSource, Source, parse_source

COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Origin:
    """One source as it is written; `sha256` is None if there is nothing to compare its file with."""

    uri: str
    source: Source
    sha256: str | None


def parse_origins(weights: str | Sequence[str], sha256: str | None) -> list[Origin]:
    """Return the sources in the order in which they are tried, without touching disk or network.

    A hub folder has no SHA-256 of its own. Alone it takes none; in a list with one it must be pinned to a commit,
    which determines its files just as well. Raises WeightsError for what is malformed.
    """
    uris = (weights,) if isinstance(weights, str) else tuple(weights)
    if not uris:
        raise WeightsError("The list of sources is empty: name at least one.")
    return [_origin(uri, sha256, alone=len(uris) == 1) for uri in uris]


def _origin(uri: str, sha256: str | None, *, alone: bool) -> Origin:
    source = parse_source(uri)
    if sha256 is None:
        return Origin(uri, source, None)
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise WeightsError(f"The sha256 of {uri!r} must be 64 hexadecimal digits, not {sha256!r}.")
    if not isinstance(source, HubSource) or source.file is not None:
        return Origin(uri, source, sha256.lower())
    if alone:
        raise folder_digest(uri)
    if not COMMIT.fullmatch(source.revision or ""):
        raise WeightsError(
            f"The weights {uri!r} are a folder, which the sha256 of the other sources cannot check: pin a commit, "
            f"hf://{source.repo}@ and its 40 hexadecimal digits."
        )
    return Origin(uri, source, None)


def folder_digest(uri: str) -> WeightsError:
    """Build the error for a SHA-256 that is given for a folder."""
    return WeightsError(
        f"The weights {uri!r} are a folder, and a SHA-256 is of one file: leave sha256 out "
        "(for hf:// pin a commit with @revision instead)."
    )


def mismatch(uri: str, expected: str, actual: str, consequence: str) -> WeightsError:
    """Build the error for a file with another SHA-256; `consequence` is what happened to the file."""
    return WeightsError(
        f"The weights {uri!r} have the wrong SHA-256: expected {expected}, got {actual}; {consequence}."
    )
