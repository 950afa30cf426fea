"""The JSON Schema of records, for tests of whatever writes them."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs

from serve_app.evaluation import records

SCHEMA: dict[str, Any] = json.loads((Path(records.__file__).parent / "schema.json").read_text())
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)


def lines(path: Path) -> Iterator[Any]:
    content = path.read_bytes()
    yield from map(json.loads, (gzip.decompress(content) if path.name.endswith(".gz") else content).splitlines())


def check(path: Path) -> None:
    """Raise an error if a line of a records file does not fit the schema."""
    for line in lines(path):
        VALIDATOR.validate(line)
