"""WMT's text files, aligned by line: `sources/en-de.txt`, `references/en-de.refA.txt`, `system-outputs/en-de/X.txt`.

Source: https://github.com/wmt-conference/wmt24-news-systems, folder `txt/`. The pair of languages comes from the names
of the files, the model from that of its outputs. A first line with a canary (a mark that keeps the set out of training
data) is not a segment, and is left out.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serve_app.errors import DataError, counted
from serve_app.evaluation.importing.formats.rows import Row, SourceFile, generation
from serve_app.evaluation.records.example import Example
from serve_app.files.json_lines import Object
from serve_app.files.text import read_text

CANARY = "CANARY GUID"
ROLES = ("sources", "references", "system-outputs")
LAYOUT = "sources/en-de.txt, references/en-de.refA.txt and system-outputs/en-de/MODEL.txt"


@dataclass(slots=True)
class _Pair:
    """The files of one pair of languages."""

    source: SourceFile | None = None
    references: list[SourceFile] = field(default_factory=list)
    outputs: list[SourceFile] = field(default_factory=list)


def recognises(path: Path, body: Object | None) -> bool:
    """Return whether a file is text in a folder of this format."""
    return body is None and _role(path) is not None


def read(files: Sequence[SourceFile]) -> Iterator[Row]:
    """Yield the rows of all files. Raises DataError if files of a pair are missing, or are not aligned."""
    pairs: dict[str, _Pair] = defaultdict(_Pair)
    for file in files:
        match _role(file.path):
            case "sources":
                pairs[_pair(file.path.stem)].source = file
            case "references":
                pairs[_pair(file.path.stem)].references.append(file)
            case "system-outputs":
                pairs[_pair(file.path.parent.name)].outputs.append(file)
            case _:
                raise DataError(f"{file.path}: is in no folder of this format; it has {LAYOUT}.")
    for name, pair in pairs.items():
        yield from _rows(name, pair)


def _rows(name: str, pair: _Pair) -> Iterator[Row]:
    if pair.source is None or not pair.outputs:
        missing = f"sources/{name}.txt" if pair.source is None else f"system-outputs/{name}/MODEL.txt"
        raise DataError(f"The pair {name} has no {missing} among the files to import.")
    source = pair.source.path
    texts = _segments(source)
    references = [_aligned(file.path, source, len(texts)) for file in pair.references]
    examples = list(_examples(name, source.absolute().parent.parent.name, texts, references))
    first = 2 if _has_canary(source) else 1
    for file in pair.outputs:
        outputs = _aligned(file.path, source, len(texts))
        for number, (example, output) in enumerate(zip(examples, outputs, strict=True), first):
            yield Row(f"{file.path}:{number}", file.model or _stem(file.path), example, generation(output))


def _examples(name: str, year: str, texts: Sequence[str], references: Sequence[Sequence[str]]) -> Iterator[Example]:
    source_lang, _, target_lang = name.partition("-")
    for number, text in enumerate(texts, 1):
        inputs = {"source_lang": source_lang, "target_lang": target_lang, "text": text}
        golds = tuple(reference[number - 1] for reference in references)
        yield Example(f"{name}/{number}", "translation", f"{year} {name}, {number}", inputs, golds, {"pair": name})


def _role(path: Path) -> str | None:
    folders = (path.parent.name, path.parent.parent.name)
    return next((role for role in ROLES if role in folders), None)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".txt")


def _pair(name: str) -> str:
    pair = name.split(".")[0]
    if len(pair.split("-")) != 2:
        raise DataError(f"{name!r} names no pair of languages, such as en-de; this format has {LAYOUT}.")
    return pair


def _aligned(path: Path, source: Path, count: int) -> list[str]:
    segments = _segments(path)
    if len(segments) != count:
        raise DataError(
            f"{path}: has {counted(len(segments), 'segment')}, but {source} has {count}; they must be aligned by line."
        )
    return segments


def _segments(path: Path) -> list[str]:
    lines = _lines(path)
    return lines[1:] if CANARY in lines[0] else lines


def _has_canary(path: Path) -> bool:
    return CANARY in _lines(path)[0]


def _lines(path: Path) -> list[str]:
    # Blank lines are empty segments, and count; only a newline ends a line.
    return [line.removesuffix("\r") for line in read_text(path).split("\n")]
