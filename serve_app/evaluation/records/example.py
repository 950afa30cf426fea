"""Examples: what models are asked, and the references that their answers are scored against.

They come from one JSON Lines file or several; a line is one example, of whose references any one will do:

    {"id": "1", "task": "closed_book_qa", "prompt_inputs": {"question": "..."}, "references": ["...", "..."]}

with further facts as `metadata`, which only groups and filters read; or `hf-datasets:NAME`, a public set from the
`datasets` library (see `public_sets`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from serve_app.errors import choices
from serve_app.evaluation.records.tasks import TASKS, check_inputs

REQUIRED = ("id", "task", "prompt_inputs", "references")
FIELDS = (*REQUIRED, "source", "metadata")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Example:
    """One question. `source` names the data set and the place in it; `references` may be empty: no labels.

    `metadata` are further facts as JSON values, by name, such as `{"difficulty": "hard"}`; no model sees them.
    """

    id: str
    task: str
    source: str
    prompt_inputs: Mapping[str, Any]
    references: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the example as a JSON object, as a line of a file has it: without `metadata` if there are none."""
        body: dict[str, Any] = {
            "id": self.id,
            "task": self.task,
            "source": self.source,
            "prompt_inputs": dict(self.prompt_inputs),
            "references": list(self.references),
        }
        return body | {"metadata": dict(self.metadata)} if self.metadata else body

    @classmethod
    def read(cls, body: Any) -> "Example":
        """Return the example that a JSON value holds. Raises ValueError, which names the field, if it is invalid."""
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
        metadata = body.get("metadata", {})
        if not isinstance(metadata, dict):
            raise ValueError("metadata: must be an object")
        source = body.get("source", "")
        return cls(body["id"], body["task"], source, body["prompt_inputs"], tuple(references), metadata)


def digest(examples: Iterable[Example]) -> str:
    """Return the SHA-256 of the examples, in hex; it depends neither on their order nor on the files' layout."""
    hashed = hashlib.sha256()
    for example in sorted(examples, key=lambda example: example.id):
        hashed.update(canonical(example.body()) + b"\n")
    return hashed.hexdigest()


def sha256_of(value: Any) -> str:
    """Return the SHA-256 of a JSON value's canonical bytes, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def canonical(value: Any) -> bytes:
    """Return JSON with sorted keys and no spaces, in ASCII: the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
