"""Examples from files and from public sets, whole or a sample."""

import random
from collections.abc import Sequence
from pathlib import Path

from serve_app.errors import DataError
from serve_app.evaluation.records.example import Example, T
from serve_app.files.json_lines import Object, read_json_lines
from serve_app.files.text import Line

HUB_PREFIX = "hf-datasets:"


def load_examples(sources: Sequence[str], limit: int | None = None, seed: int | None = None) -> list[Example]:
    """Return all examples of the files and public sets that `sources` names, in their order.

    `limit` applies to each source: its first examples or, with a `seed`, a random sample in the source's order; a
    larger limit with the same seed only adds to it. Raises `DataError` with file, line and field if a source cannot be
    read, a line is not an example, or an id occurs twice.
    """
    examples: list[Example] = []
    origins: dict[str, str] = {}
    for source in sources:
        for where, example in _sample(_located(source), limit, seed):
            if example.id in origins:
                raise DataError(f"{where}: duplicate id {example.id!r}, first used at {origins[example.id]}.")
            origins[example.id] = where
            examples.append(example)
    if not examples:
        raise DataError(f"No examples in {', '.join(sources)}.")
    return examples


def _located(source: str) -> list[tuple[str, Example]]:
    if source.startswith(HUB_PREFIX):
        from serve_app.evaluation.records.public_sets import load_public

        return [(source, example) for example in load_public(source.removeprefix(HUB_PREFIX))]
    return _read(Path(source))


def _read(path: Path) -> list[tuple[str, Example]]:
    with read_json_lines(path) as lines:
        return [(line.where, _example(line, body)) for line, body in lines]


def _example(line: Line, body: Object) -> Example:
    try:
        return Example.read(body)
    except ValueError as error:
        raise DataError(f"{line.where}: {error}.") from None


def _sample(items: list[T], limit: int | None, seed: int | None) -> list[T]:
    if limit is None or limit >= len(items):
        return items
    if seed is None:
        return items[:limit]
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    return [items[i] for i in sorted(order[:limit])]
