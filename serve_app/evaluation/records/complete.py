"""Writes a whole records file at once: it appears under its name complete, or not at all."""

import gzip
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from serve_app.errors import DataError
from serve_app.evaluation.records.header import Object
from serve_app.evaluation.records.lines import encode_line


def check_output(path: Path, *, force: bool) -> None:
    """Raise DataError if the file exists and must not be replaced."""
    if path.exists() and not force:
        raise DataError(f"{str(path)!r} exists; choose another path with -o, or replace it with --force.")


def write_complete(path: Path, bodies: Iterable[Object]) -> None:
    """Write the lines of a records file, compressed if it is named `.gz`, and replace what was there.

    Raises DataError if the file cannot be written; then there is no new file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        packed = path.name.endswith(".gz")
        with cast("BinaryIO", gzip.open(temporary, "wb") if packed else temporary.open("wb")) as file:
            file.writelines(map(encode_line, bodies))
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"The records {str(path)!r} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):  # what kept it from being written may keep it from being removed
            temporary.unlink(missing_ok=True)
