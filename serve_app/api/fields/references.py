"""References of a JSON schema that lead back to themselves, which describe no value."""

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any
from urllib.parse import unquote

from serve_app.api.fields.buildable import dotted, objects

_LISTS = ("allOf", "anyOf", "oneOf")
_SINGLE = ("not", "if", "then", "else")


def check_endless(schema: dict[str, Any]) -> None:
    """Raise `ValueError` with a path if following references never reaches a part of the value.

    JSON Schema forbids it, but libraries accept it: llguidance compiles such a grammar, and then enforces nothing.
    """
    paths = {id(part): path for path, part in objects(schema, ())}
    graph = {id(part): [id(subschema) for subschema in _in_place(part, schema)] for _, part in objects(schema, ())}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        path = min((paths[part] for part in error.args[1]), key=len)
        raise ValueError(f"has a $ref that leads back to itself: at {dotted(path) or 'its root'}") from None


def _in_place(part: dict[str, Any], root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schemas that describe the same value as this one."""
    subschemas = [_target(part.get("$ref"), root), *(part.get(name) for name in _SINGLE)]
    for name in _LISTS:
        alternatives = part.get(name)
        subschemas += alternatives if isinstance(alternatives, list) else []
    yield from (subschema for subschema in subschemas if isinstance(subschema, dict))


def _target(reference: Any, root: dict[str, Any]) -> Any:
    """Return what a JSON pointer such as `#/$defs/a` points to, or None; anchors are not followed."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    value: Any = root
    for step in unquote(reference[1:]).split("/")[1:]:
        if isinstance(value, list):
            value = value[int(step)] if re.fullmatch("[0-9]{1,4}", step) and int(step) < len(value) else None
        elif isinstance(value, dict):
            value = value.get(step.replace("~1", "/").replace("~0", "~"))
        else:
            return None
    return value
