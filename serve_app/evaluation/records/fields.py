"""Checks of one line's fields, which name the field, what it must be and what it is."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")
_WORDS = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


def field(body: Mapping[str, Any], name: str, kind: type[T], prefix: str = "") -> T:
    """Return a field of a JSON object; `prefix` is the path of that object in its line, such as `config.`.

    Raises ValueError if the field is missing or of another type. For `float` any JSON number will do.
    """
    if name not in body:
        raise ValueError(f"{prefix}{name}: required, but missing")
    value = body[name]
    # In Python true and false are numbers.
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise ValueError(f"{prefix}{name}: must be {_WORDS[kind]}, not {value!r}")
    return cast("T", value)


def word(body: Mapping[str, Any], name: str, words: tuple[str, ...]) -> Any:
    """Return a field that must be one of some words. Raises ValueError if it is not."""
    value = field(body, name, str)
    if value not in words:
        raise ValueError(f"{name}: must be one of {', '.join(words)}, not {value!r}")
    return value
