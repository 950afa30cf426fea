"""Schemas that are valid, but that no engine should be given.

Engines build a grammar of a schema before they decode. Contradictions are reported here, by name and for every engine,
since some engines never finish building them; very many properties take seconds.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str | int, ...]

MAX_PROPERTIES = 256
"""The limit for one object: the time grows with the square of their number."""
MAX_BOUND = 2**31 - 1
"""llama.cpp counts in 32 bits, so that a larger bound overflows to a small one."""

_PATH_CHARACTERS = 200
_LITERAL = re.compile(r"\\.|\[(?:\\.|[^\]\\])*+\]?", re.DOTALL)
"""Parts of a pattern in which braces are not quantifiers: escaped characters, and character classes."""
_RANGE = re.compile(r"\{([0-9]+),([0-9]+)\}")


def buildable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema unchanged. Raises `ValueError` with the path of the fault if engines could not build it.

    A reference may lead anywhere, even to a `default`, so keywords are looked for in all objects. A property that has a
    keyword's name is recognised by its value, which is a schema.
    """
    for path, part in objects(schema, ()):
        for kind in ("Items", "Length", "Properties"):
            _check_bounds(path, part, f"min{kind}", f"max{kind}")
        _check_pattern((*path, "pattern"), part.get("pattern"))
        properties = part.get("properties")
        if isinstance(properties, dict) and len(properties) > MAX_PROPERTIES:
            raise _refusal((*path, "properties"), f"has more than {MAX_PROPERTIES} properties")
    return schema


def dotted(path: Sequence[str | int]) -> str:
    """Return a path inside a schema as a client writes it, such as `properties.a[0]`."""
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return steps.removeprefix(".")[:_PATH_CHARACTERS]


def children(value: Any) -> list[Any]:
    """Return the direct children of an object or a list; a scalar has none."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def pattern_characters(value: Any) -> int:
    """Return how many characters the patterns directly in an object have."""
    if not isinstance(value, dict):
        return 0
    pattern, names = value.get("pattern"), value.get("patternProperties")
    length = len(pattern) if isinstance(pattern, str) else 0
    return length + (sum(map(len, names)) if isinstance(names, dict) else 0)


def objects(value: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every object within a value, with its path, which begins with `path`."""
    if isinstance(value, dict):
        yield path, value
        for key, child in value.items():
            yield from objects(child, (*path, key))
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from objects(child, (*path, number))


def _check_bounds(path: Path, part: dict[str, Any], low: str, high: str) -> None:
    # True counts as 1, as it does in llama.cpp.
    bounds = {name: part[name] for name in (low, high) if isinstance(part.get(name), int | float)}
    for name, bound in bounds.items():
        if not 0 <= bound <= MAX_BOUND:
            raise _refusal(path, f"{name} must be from 0 to {MAX_BOUND}")
    if len(bounds) == 2 and bounds[low] > bounds[high]:
        raise _refusal(path, f"{low} is {bounds[low]}, but {high} is {bounds[high]}")


def _check_pattern(path: Path, pattern: Any) -> None:
    if not isinstance(pattern, str):
        return
    for quantifier in _RANGE.finditer(_LITERAL.sub("-", pattern)):
        low, high = (digits.lstrip("0") for digits in quantifier.groups())
        if (len(low), low) > (len(high), high):  # as numbers, however long
            raise _refusal(path, f"{quantifier[0][:40]} allows nothing")


def _refusal(path: Path, reason: str) -> ValueError:
    prefix = f"at {dotted(path)}: " if path else ""
    return ValueError(f"cannot be answered: {prefix}{reason}")
