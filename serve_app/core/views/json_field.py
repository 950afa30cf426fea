"""A field of the JSON in an answer: in prose or a code fence, and broken, as models write it."""

import json
import re
from typing import Any

from serve_app.core.text.characters import whole

_FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)^[ \t]*```", re.MULTILINE | re.DOTALL)
_OPENING = re.compile(r"[\[{]")
_MOST_ATTEMPTS = 32
"""Brackets at which JSON is tried: enough for prose before it, and no text takes quadratic time."""
# Numbers stay as they are written; line breaks may stand in strings.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, strict=False)
# A quotation mark ends a text if the field ends there, too: models forget to escape those within.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.|"(?!\s*(?:[,}\]]|\Z)))*+)"', re.DOTALL)
_SINGLE_QUOTED = re.compile(r"'([^\n]*)'[ \t]*(?=[,}\n]|\Z)")
_BARE = re.compile(r"""[^\s,\]}"'](?:[^,\]}\n]*[^\s,\]}])?""")


def json_field(text: str, path: str) -> str | None:
    """Return the field at a dotted path of the last JSON value that has it, or None.

    A text is returned as it is, everything else as JSON with sorted keys, numbers as they are written. Null counts as
    absent. If no JSON value has the field, the last `"name": ...` in the text counts, `name` being the end of the path:
    broken JSON, such as with a quotation mark or a backslash that is not escaped, mostly has a readable answer.
    """
    steps = path.split(".")
    fields = [field for value in _values(text) if (field := _at(value, steps)) is not None]
    if not fields:
        return _by_name(text, steps[-1])
    return whole(fields[-1]) if isinstance(fields[-1], str) else _json(fields[-1])


def _json(value: Any) -> str | None:
    try:
        return whole(json.dumps(value, ensure_ascii=False, sort_keys=True))
    except RecursionError:
        return None


def _values(text: str) -> list[Any]:
    """Return the JSON values of a text: those in code fences if any are, else objects and arrays anywhere in it."""
    fenced = [value for inside in _FENCE.findall(text) for value in _embedded(inside)]
    return fenced or _embedded(text)


def _embedded(text: str) -> list[Any]:
    values: list[Any] = []
    at = 0
    for _ in range(_MOST_ATTEMPTS):
        if (opening := _OPENING.search(text, at)) is None:
            break
        try:
            value, at = _DECODER.raw_decode(text, opening.start())
            values.append(value)
        except (ValueError, RecursionError):
            at = opening.end()
    return values


def _at(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isascii() and step.isdigit() and int(step[:9]) < len(value):
            value = value[int(step[:9])]
        else:
            return None
    return value


def _by_name(text: str, name: str) -> str | None:
    """Return what follows the last `"name":`: a text in quotation marks, or what stands before a comma or bracket."""
    label = rf'"{re.escape(name)}"\s*:\s*'
    *_, start = (-1, *(match.end() for match in re.finditer(label, text)))
    if start < 0:
        return None
    if quoted := _QUOTED.match(text, start):
        return whole(_unescaped(quoted[1]))
    if single := _SINGLE_QUOTED.match(text, start):
        return single[1]
    bare = _BARE.match(text, start)
    return bare[0] if bare and bare[0] != "null" else None


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text.replace('\\"', '"')
