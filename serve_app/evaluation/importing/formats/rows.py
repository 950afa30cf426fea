"""The rows into which every format is read, each with one model's answer to one example."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

from serve_app.core.text.characters import HALF_PAIR, half_at
from serve_app.core.types.answer import Failure, Generation
from serve_app.errors import DataError
from serve_app.evaluation.records.example import Example
from serve_app.files.json_lines import Object, read_json_lines
from serve_app.files.text import read_lines, read_text

METADATA = (
    "category",
    "config",
    "dataset",
    "difficulty",
    "domain",
    "level",
    "metric",
    "size",
    "source",
    "subject",
    "task_type",
    "topic",
    "type",
)
"""Fields of a source that become an example's metadata, if they are there: what people group results by."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to import. `model` is the name of the model whose answers it has, or None if the file says it."""

    path: Path
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One model's answer to one example. `where` is the file and the line or row; `model` is as the source names it.

    `counted`: whether the answer has token counts; if not, they are 0 here.
    """

    where: str
    model: str
    example: Example
    answer: Generation | Failure
    counted: bool = False
    scores: Mapping[str, float] = field(default_factory=dict)


def generation(text: str) -> Generation:
    """Return an answer of which only the text is known."""
    return Generation(text, "stop", 0, 0, latency_s=nan)


def text_id(text: str) -> str:
    """Return an id for an example that has none: the beginning of its text's SHA-256, in hex."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def metadata(body: Object, *left_out: str) -> dict[str, Any]:
    """Return those fields of a source's row that describe its example."""
    return {name: body[name] for name in METADATA if body.get(name) is not None and name not in left_out}


def reference(value: Any) -> tuple[str, ...]:
    """Return a gold field as references: a text as it is, a list's entries, any other value as JSON; empty for null."""
    if value is None:
        return ()
    if isinstance(value, list):
        return tuple(text for entry in value for text in reference(entry))
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),)


def read_rows(files: Iterable[SourceFile], row: Callable[[SourceFile, str, Object], Row]) -> Iterator[Row]:
    """Yield a row for each object of each file. Raises DataError, which says where, if `row` raises ValueError."""
    for file in files:
        for where, body in read_objects(file.path):
            try:
                yield row(file, where, body)
            except ValueError as error:
                raise DataError(f"{where}: {error}.") from None


def read_objects(path: Path) -> Iterator[tuple[str, Object]]:
    """Yield the objects of a file of JSON Lines or of one JSON list, each with where it is.

    Raises DataError if the file cannot be read or holds something else.
    """
    if not _is_list(path):
        with read_json_lines(path) as lines:
            yield from ((line.where, body) for line, body in lines)
        return
    for number, body in enumerate(_list(path), 1):
        if not isinstance(body, dict):
            raise DataError(f"{path}, row {number}: must be a JSON object.")
        if (half := half_at(body)) is not None:
            raise DataError(f"{path}, row {number}: {half}: {HALF_PAIR}.")
        yield f"{path}, row {number}", body


def first_object(path: Path) -> Object | None:
    """Return the first object of a file, or None if it is neither JSON Lines nor a JSON list of objects."""
    with read_lines(path) as lines:
        if next((line.text.lstrip()[:1] for line in lines), "") not in ("[", "{"):
            return None
    return next((body for _, body in read_objects(path)), None)


def _is_list(path: Path) -> bool:
    with read_lines(path) as lines:
        return next((line.text.lstrip().startswith("[") for line in lines), False)


def _list(path: Path) -> list[Any]:
    try:
        rows: list[Any] = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}.") from None
    except (RecursionError, ValueError):
        raise DataError(f"{path}: not JSON: nested too deeply, or a number has too many digits.") from None
    return rows
