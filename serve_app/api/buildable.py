"""Schemas that are valid, but that no engine should be given.

Engines build a grammar of a schema before they decode. Of a contradiction llama.cpp does so without end, eating memory
meanwhile and not to be cancelled; of very many optional properties it takes seconds; and references that lead in a
circle break its process where it makes one object of the parts of an `allOf`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

Place: TypeAlias = tuple[str | int, ...]

MAX_PROPERTIES = 256
"""Of one object: the time goes with their number squared."""
MAX_BOUND = 2**31 - 1
"""llama.cpp counts in 32 bits: it takes a larger bound for a small one."""

_PLACE_CHARACTERS = 200
_LITERAL = re.compile(r"\\.|\[(?:\\.|[^\]\\])*+\]?", re.DOTALL)
"""Parts of a pattern in which braces are no quantifiers: what is escaped, and character classes."""
_RANGE = re.compile(r"\{([0-9]+),([0-9]+)\}")


def buildable(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as it is; raises `ValueError`, which names the place.

    A reference may lead anywhere, to a `default` too, so keywords are looked for in all objects. What is no keyword,
    but a property's name, is told by its value: that of a property is a schema.
    """
    definitions = _definitions(schema)
    for place, part in _objects(schema, ()):
        for kind in ("Items", "Length", "Properties"):
            _check_bounds(place, part, f"min{kind}", f"max{kind}")
        _check_pattern((*place, "pattern"), part.get("pattern"))
        properties = part.get("properties")
        if isinstance(properties, dict) and len(properties) > MAX_PROPERTIES:
            raise _refusal((*place, "properties"), f"has more than {MAX_PROPERTIES} properties")
        _check_parts((*place, "allOf"), part.get("allOf"), definitions)
    return schema


def dotted(place: Sequence[str | int]) -> str:
    """A place inside a schema, as a client writes it."""
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return steps.removeprefix(".")[:_PLACE_CHARACTERS]


def children(value: Any) -> list[Any]:
    """What stands directly in an object or a list."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _objects(value: Any, place: Place) -> Iterator[tuple[Place, dict[str, Any]]]:
    if isinstance(value, dict):
        yield place, value
        for key, child in value.items():
            yield from _objects(child, (*place, key))
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _objects(child, (*place, number))


def _check_bounds(place: Place, part: dict[str, Any], low: str, high: str) -> None:
    # True counts as 1, as it does in llama.cpp.
    bounds = {name: part[name] for name in (low, high) if isinstance(part.get(name), int | float)}
    for name, bound in bounds.items():
        if not 0 <= bound <= MAX_BOUND:
            raise _refusal(place, f"{name} must be from 0 to {MAX_BOUND}")
    if len(bounds) == 2 and bounds[low] > bounds[high]:
        raise _refusal(place, f"{low} is {bounds[low]}, but {high} is {bounds[high]}")


def _check_pattern(place: Place, pattern: Any) -> None:
    if not isinstance(pattern, str):
        return
    for found in _RANGE.finditer(_LITERAL.sub("-", pattern)):
        low, high = (digits.lstrip("0") for digits in found.groups())
        if (len(low), low) > (len(high), high):  # as numbers, however long
            raise _refusal(place, f"{found[0][:40]} allows nothing")


def _definitions(schema: dict[str, Any]) -> dict[str, int]:
    """How many properties a reference brings. llama.cpp takes definitions from wherever they stand to the top."""
    sizes = {"#": _size(schema)}
    unclear = {"#"} if "$ref" in schema else set()
    for _, part in _objects(schema, ()):
        for word in ("$defs", "definitions"):
            named = part.get(word)
            for name, definition in named.items() if isinstance(named, dict) else ():
                reference = f"#/{word}/{name}"
                sizes[reference] = max(sizes.get(reference, 0), _size(definition))
                # Itself a reference, or one that can be read in two ways.
                if (isinstance(definition, dict) and "$ref" in definition) or {"/", "~"} & set(name):
                    unclear.add(reference)
    return {reference: size for reference, size in sizes.items() if reference not in unclear}


def _check_parts(place: Place, parts: Any, definitions: dict[str, int]) -> None:
    """One object is made of all parts of an `allOf`, and of all choices of an `anyOf` that is such a part."""
    count = 0
    for part in children(parts):
        for choice in children(part["anyOf"]) if isinstance(part, dict) and "anyOf" in part else [part]:
            reference = choice.get("$ref") if isinstance(choice, dict) else None
            if not isinstance(reference, str):  # none, or a property of that name
                count += _size(choice)
            elif reference in definitions:
                count += definitions[reference]
            else:
                raise _refusal(place, "a $ref must lead to a definition that is no $ref itself")
    if count > MAX_PROPERTIES:
        raise _refusal(place, f"has more than {MAX_PROPERTIES} properties")


def _size(part: Any) -> int:
    properties = part.get("properties") if isinstance(part, dict) else None
    return len(properties) if isinstance(properties, dict) else 0


def _refusal(place: Place, reason: str) -> ValueError:
    where = f"at {dotted(place)}: " if place else ""
    return ValueError(f"cannot be answered: {where}{reason}")
