"""Text files in UTF-8, with or without a byte order mark; `.gz` is unpacked."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from serve_app.errors import DataError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its newline; `where` is `file:number`, `end` the number of bytes up to the next line."""

    where: str
    text: str
    end: int


def read_text(path: Path) -> str:
    """Return a file's text (see `text_of`). Raises DataError if it cannot be read or is not UTF-8."""
    with _opened(path) as file:
        return text_of(file.read(), str(path))


def text_of(content: bytes, where: str) -> str:
    """Return the text without a byte order mark, and without the newline that an editor adds at its end."""
    return _decoded(content.removeprefix(BYTE_ORDER_MARK), where).removesuffix("\n").removesuffix("\r")


@contextmanager
def read_lines(path: Path, *, growing: bool = False) -> Iterator[Iterator[Line]]:
    """Iterate over the lines that are not blank. Raises DataError if the file cannot be read, or a line is not UTF-8.

    Only a newline ends a line: texts may contain U+2028 or U+0085. A file that is `growing` is written whole lines at a
    time: a last line without its newline was cut off by a kill, and is left out.
    """
    with _opened(path) as file:
        yield lines_of(file, str(path), growing=growing)


def lines_of(file: BinaryIO, name: str, *, growing: bool = False) -> Iterator[Line]:
    """Iterate as `read_lines` over an open file, which messages call `name`."""
    end = 0
    for number, content in enumerate(file, 1):
        end += len(content)
        if growing and not content.endswith(b"\n"):
            return
        where = f"{name}:{number}"
        line = _decoded(content.removeprefix(BYTE_ORDER_MARK) if number == 1 else content, where)
        if line.strip():
            yield Line(where, line.removesuffix("\n").removesuffix("\r"), end)


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 at byte {error.start + 1}.") from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with cast("BinaryIO", gzip.open(path) if path.name.endswith(".gz") else path.open("rb")) as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise DataError(f"The file {str(path)!r} cannot be read: {reason}.") from None
