"""Examples from files and from public sets, whole or a sample."""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from serve_app.errors import DataError
from serve_app.evaluation.records.example import Example, T

HUB_PREFIX = "hf-datasets:"


def load_examples(sources: Sequence[str], limit: int | None = None, seed: int | None = None) -> list[Example]:
    """Return all examples of the files and public sets that `sources` names, in their order.

    `limit` applies to each source: its first examples or, with a `seed`, a random sample in the source's order; a
    larger limit with the same seed only adds to it. Raises `DataError` with file, line and field if a source cannot be
    read, a line is no example, or an id occurs twice.
    """
    examples: list[Example] = []
    seen: dict[str, str] = {}
    for source in sources:
        for where, example in _sample(_located(source), limit, seed):
            if example.id in seen:
                raise DataError(f"{where}: duplicate id {example.id!r}, first used at {seen[example.id]}.")
            seen[example.id] = where
            examples.append(example)
    if not examples:
        raise DataError(f"No examples in {', '.join(sources)}.")
    return examples


def _located(source: str) -> list[tuple[str, Example]]:
    if source.startswith(HUB_PREFIX):
        from serve_app.evaluation.records.public_sets import load_public

        return [(source, example) for example in load_public(source.removeprefix(HUB_PREFIX))]
    return list(_read(Path(source)))


def _read(path: Path) -> Iterator[tuple[str, Example]]:
    try:
        lines = path.read_bytes().split(b"\n")  # not splitlines: a JSON string may contain U+2028
    except OSError as error:
        raise DataError(f"The data {str(path)!r} cannot be read: {error.strerror}.") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            yield where, Example.read(json.loads(line))
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON: {error}.") from None
        except UnicodeDecodeError:
            raise DataError(f"{where}: not UTF-8.") from None
        except ValueError as error:
            raise DataError(f"{where}: {error}.") from None


def _sample(items: list[T], limit: int | None, seed: int | None) -> list[T]:
    if limit is None or limit >= len(items):
        return items
    if seed is None:
        return items[:limit]
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    return [items[i] for i in sorted(order[:limit])]
