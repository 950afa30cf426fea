"""JSON Lines: a JSON object a line, in UTF-8, plain or `.gz`."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serve_app.core.text.characters import HALF_PAIR, half_at
from serve_app.errors import DataError
from serve_app.files.text import Line, read_lines

Object = dict[str, Any]
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""How a half of a pair is written; only lines with one need to be searched."""


@contextmanager
def read_json_lines(path: Path) -> Iterator[Iterator[tuple[Line, Object]]]:
    """Iterate over the lines and objects of a file that a user wrote; blank lines are skipped.

    Raises DataError with `file:line` if a line is not UTF-8, not a JSON object, or has half of a surrogate pair.
    """
    with read_lines(path) as lines:
        yield ((line, _whole(line, _object(line))) for line in lines)


@contextmanager
def read_appended(path: Path) -> Iterator[Iterator[tuple[Line, Object]]]:
    """Iterate over the lines and objects of a file that a command appends to; `read_lines` has what `growing` means.

    Halves of surrogate pairs are read as they are, since a model may have written them. Raises DataError with
    `file:line` if a line is not UTF-8 or not a JSON object.
    """
    with read_lines(path, growing=True) as lines:
        yield objects_of(lines)


def objects_of(lines: Iterable[Line]) -> Iterator[tuple[Line, Object]]:
    """Iterate over lines and their objects. Raises DataError with `file:line` if a line is not a JSON object."""
    return ((line, _object(line)) for line in lines)


def _whole(line: Line, body: Object) -> Object:
    if _HALF.search(line.text) and (field := half_at(body)) is not None:
        raise DataError(f"{line.where}: {field}: {HALF_PAIR}.")
    return body


def _object(line: Line) -> Object:
    body = _parsed(line)
    if not isinstance(body, dict):
        raise DataError(f"{line.where}: must be a JSON object.")
    return body


def _parsed(line: Line) -> Any:
    try:
        return json.loads(line.text)
    except json.JSONDecodeError as error:
        raise DataError(f"{line.where}: not JSON: {error.msg} at column {error.colno}.") from None
    except RecursionError:
        raise DataError(f"{line.where}: not JSON: nested too deeply.") from None
    except ValueError:  # Python's limit for integers
        raise DataError(f"{line.where}: not JSON: a number has too many digits.") from None
