"""Writes a whole records file at once: it appears under its name complete, or not at all."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

from serve_app.errors import DataError
from serve_app.evaluation.records.header import Object
from serve_app.evaluation.records.lines import encode_line
from serve_app.files.whole_file import whole_file


def write_complete(path: Path, bodies: Iterable[Object]) -> None:
    """Write the lines of a records file, compressed if it is named `.gz`, and replace what was there.

    Raises DataError if the file cannot be written; then there is no new file.
    """
    try:
        with whole_file(path) as partial, _opened(partial, packed=path.name.endswith(".gz")) as file:
            file.writelines(map(encode_line, bodies))
    except OSError as error:
        raise DataError(f"The records {str(path)!r} cannot be written: {error.strerror}.") from error


def _opened(path: Path, *, packed: bool) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "wb")) if packed else path.open("wb")
