"""Examples: what models are asked, and the references their answers are judged by.

One JSON Lines file, or several; a line is one example, of which any of the references is as good as the others:

    {"id": "1", "task": "closed_book_qa", "prompt_inputs": {"question": "..."}, "references": ["...", "..."]}

or `hf-datasets:NAME`, a public set from the `datasets` library (see `public_sets`).
"""

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from serve_app.errors import DataError, choices
from serve_app.evaluation.tasks import TASKS, check_inputs

HUB_PREFIX = "hf-datasets:"
REQUIRED = ("id", "task", "prompt_inputs", "references")
FIELDS = (*REQUIRED, "source")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to ask. `source` names the data set and the place in it; `references` may be empty: no labels."""

    id: str
    task: str
    source: str
    prompt_inputs: Mapping[str, Any]
    references: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """As a line of a file has it."""
        return {
            "id": self.id,
            "task": self.task,
            "source": self.source,
            "prompt_inputs": dict(self.prompt_inputs),
            "references": list(self.references),
        }

    @classmethod
    def read(cls, body: Any) -> "Example":
        """Checks everything; ValueError names the field."""
        if not isinstance(body, dict):
            raise ValueError("must be a JSON object")
        if unknown := next((name for name in body if name not in FIELDS), None):
            raise ValueError(f"{unknown}: no such field. {choices(unknown, FIELDS)}".rstrip("."))
        if missing := next((name for name in REQUIRED if name not in body), None):
            raise ValueError(f"{missing}: required, but missing")
        for name in ("id", "task", "source"):
            if not isinstance(body.get(name, ""), str):
                raise ValueError(f"{name}: must be a string")
        if not body["id"]:
            raise ValueError("id: must not be empty")
        if body["task"] not in TASKS:
            raise ValueError(f"task: no task {body['task']!r}. {choices(body['task'], TASKS)}".rstrip("."))
        check_inputs(body["task"], body["prompt_inputs"])
        references = body["references"]
        if not isinstance(references, list) or not all(isinstance(text, str) for text in references):
            raise ValueError("references: must be a list of strings")
        return cls(body["id"], body["task"], body.get("source", ""), body["prompt_inputs"], tuple(references))


def load_examples(sources: Sequence[str], limit: int | None = None, seed: int | None = None) -> list[Example]:
    """All examples of the files and public sets that `sources` names, in their order.

    `limit` is of each source: its first examples or, with a `seed`, a random sample in the source's order (a larger
    limit with the same seed only adds to it). Raises `DataError` with file, line and field; an id must not come twice.
    """
    examples: list[Example] = []
    seen: dict[str, str] = {}
    for source in sources:
        for where, example in _sample(_located(source), limit, seed):
            if example.id in seen:
                raise DataError(f"{where}: the id {example.id!r} stands in {seen[example.id]} already; ids are unique.")
            seen[example.id] = where
            examples.append(example)
    if not examples:
        raise DataError(f"There is no example in {', '.join(sources)}.")
    return examples


def _located(source: str) -> list[tuple[str, Example]]:
    if source.startswith(HUB_PREFIX):
        from serve_app.evaluation.public_sets import load_public

        return [(source, example) for example in load_public(source.removeprefix(HUB_PREFIX))]
    return list(_read(Path(source)))


def _read(path: Path) -> Iterator[tuple[str, Example]]:
    try:
        lines = path.read_bytes().split(b"\n")  # not splitlines: a JSON string may hold a U+2028
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


def digest(examples: Iterable[Example]) -> str:
    """SHA-256 of the examples, in hex, whatever their order and the files' layout."""
    hashed = hashlib.sha256()
    for example in sorted(examples, key=lambda example: example.id):
        hashed.update(canonical(example.body()) + b"\n")
    return hashed.hexdigest()


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, in ASCII: the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
