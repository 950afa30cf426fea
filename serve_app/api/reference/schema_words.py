"""A JSON schema of the OpenAPI document, as a few words of HTML."""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, TypeAlias

from serve_app.errors import counted

Schema: TypeAlias = Mapping[str, Any]
PLAIN = {"integer": "whole number", "boolean": "true or false", "object": "object", "array": "list"}
WHOLE_DIGITS = 12
"""Whole numbers with more digits are bounds of 64 bits, which are rounded."""


def type_words(schema: Schema) -> str:
    """Return what a value may be. A null is left out, since it counts as an absent field."""
    if "$ref" in schema:
        name = object_name(schema["$ref"])
        return f'<a href="#{escape(name)}">{escape(title(name))}</a>'
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(type_words(option) for option in options if option.get("type") != "null"))
    if "const" in schema or "enum" in schema:
        return " or ".join(code(value) for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "")
    words = PLAIN.get(kind, kind) or "anything"
    if kind == "array" and schema.get("items"):
        words = f"list of {_bracketed(type_words(schema['items']))}"
    elif kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        words = f"object whose values are {_bracketed(type_words(schema['additionalProperties']))}"
    bounds = ", ".join(_bounds(schema))
    return f"{words} ({bounds})" if bounds else words


def object_name(reference: str) -> str:
    """Return the name of the object that a `$ref` leads to."""
    return reference.rsplit("/", 1)[-1]


def title(name: str) -> str:
    """Return an object's name without the module, which OpenAPI's names have if two are alike."""
    return name.rsplit("__", 1)[-1]


def prose(text: str) -> str:
    """Return a description, with what it has in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def code(value: object) -> str:
    """Return a value as JSON."""
    return f"<code>{escape(json.dumps(value, ensure_ascii=False), quote=False)}</code>"


def _bracketed(words: str) -> str:
    return f"({words})" if " or " in words and "(" not in words else words


def _bounds(schema: Schema) -> Iterator[str]:
    yield from _range(schema.get("minimum"), schema.get("maximum"))
    for name, word in (("exclusiveMinimum", "above"), ("exclusiveMaximum", "below")):
        if name in schema:
            yield f"{word} {_number(schema[name])}"
    yield from _range(schema.get("minLength"), schema.get("maxLength"), "character")
    yield from _range(schema.get("minItems"), schema.get("maxItems"), "entry", "entries")
    yield from _range(schema.get("minProperties"), schema.get("maxProperties"), "entry", "entries")
    if "pattern" in schema:
        yield f"by the pattern <code>{escape(schema['pattern'], quote=False)}</code>"


def _range(low: float | None, high: float | None, noun: str = "", plural: str | None = None) -> Iterator[str]:
    if low is not None and high is not None:
        yield f"{_number(low)} to {_amount(high, noun, plural)}"
    elif low is not None:
        yield f"at least {_amount(low, noun, plural)}"
    elif high is not None:
        yield f"at most {_amount(high, noun, plural)}"


def _amount(value: float, noun: str, plural: str | None) -> str:
    return counted(int(value), noun, plural) if noun else _number(value)


def _number(value: float) -> str:
    return f"{value:.{WHOLE_DIGITS}g}" if abs(value) < 10**WHOLE_DIGITS else f"{value:.2g}"
