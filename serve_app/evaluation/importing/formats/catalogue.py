"""All formats by name, and which of them a file is in."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from serve_app.errors import DataError, UsageError, choices
from serve_app.evaluation.importing.formats import alpaca_eval, lm_eval, openai_batch, routerarena, wmt, zeroeval
from serve_app.evaluation.importing.formats.jsonl import Mapped
from serve_app.evaluation.importing.formats.rows import Row, SourceFile, first_object
from serve_app.files.json_lines import Object

Read: TypeAlias = Callable[[Sequence[SourceFile]], Iterator[Row]]
"""Files of one format -> rows."""


@dataclass(frozen=True, slots=True)
class Format:
    """How files of a format are recognised, by their path and first JSON object (None: not JSON), and read."""

    recognises: Callable[[Path, Object | None], bool]
    read: Read


JSONL = "jsonl"
"""The name of the format that a mapping describes."""
FORMATS = {
    module.__name__.rpartition(".")[2]: Format(module.recognises, module.read)
    for module in (alpaca_eval, lm_eval, openai_batch, routerarena, wmt, zeroeval)
}


def reader(files: Sequence[SourceFile], name: str | None, mapping: str | None = None) -> Read:
    """Return the reader of the format of this name, or without a name of the first file's; with a mapping, `jsonl`.

    Raises UsageError if there is no such format, DataError if the file is in another format.
    """
    if mapping is not None and name in (None, JSONL):
        return Mapped(mapping)
    if mapping is not None or name == JSONL:
        raise UsageError("--map describes the format jsonl, which needs it; no other format takes one.")
    if name is not None:
        if name not in FORMATS:
            raise UsageError(f"There is no format {name!r}. {choices(name, (*FORMATS, JSONL))}")
        return FORMATS[name].read
    path = files[0].path
    body = first_object(path)
    for entry in FORMATS.values():
        if entry.recognises(path, body):
            return entry.read
    raise DataError(f"{path}: is in none of the formats {', '.join(FORMATS)}; describe it with --map, or set --format.")
