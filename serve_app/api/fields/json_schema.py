"""JSON schemas in requests: of a tool's parameters, or of an answer."""

from typing import Annotated, Any, TypeAlias

from jsonschema_rs import (
    Draft4Validator,
    Draft7Validator,
    Draft202012Validator,
    ValidationError,
    ValidationErrorKind,
    validator_for,
)
from pydantic import AfterValidator, Field

from serve_app.api.fields.body import encodable
from serve_app.api.fields.buildable import buildable, children, dotted, pattern_characters
from serve_app.api.fields.references import check_endless

MAX_DEPTH = 64
"""How deep a JSON schema may be nested, since engines process it recursively."""
MAX_VALUES = 2000
"""Values in one JSON schema: validating so many takes 10 to 50 ms, and the time of some grows with their square."""
MAX_PATTERN_CHARACTERS = 1024
"""Characters of all patterns in one JSON schema: compiling `\\w{0,999}` so often takes 50 ms."""


def _check_values(schema: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [schema]
    values = characters = 0
    for _ in range(MAX_DEPTH):
        values += len(level)
        characters += sum(map(pattern_characters, level))
        if values > MAX_VALUES:
            raise ValueError(f"must have at most {MAX_VALUES} values in all")
        if characters > MAX_PATTERN_CHARACTERS:
            raise ValueError(f"must have at most {MAX_PATTERN_CHARACTERS} characters in all patterns")
        for text in [*_keys(level), *(value for value in level if isinstance(value, str))]:
            encodable(text)
        if any(isinstance(value, float) and not -float("inf") < value < float("inf") for value in level):
            raise ValueError("has a number that JSON cannot express")
        level = [child for value in level for child in children(value)]
    if level:
        raise ValueError(f"must be nested no deeper than {MAX_DEPTH} levels")
    return schema


def _keys(values: list[Any]) -> list[str]:
    return [key for value in values if isinstance(value, dict) for key in value]


# Otherwise the library would fetch the `$schema` that a client names. Messages have "it" in place of a long value.
_NEWEST = Draft202012Validator({"$ref": "https://json-schema.org/draft/2020-12/schema"}, mask="it")
_OLDER = (
    Draft7Validator({"$ref": "http://json-schema.org/draft-07/schema#"}),
    Draft4Validator({"$ref": "http://json-schema.org/draft-04/schema#"}),
)
"""Generators of schemas still write these, often without a `$schema`."""


def _check_schema(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        _NEWEST.validate(schema)
    except ValidationError as error:
        if not any(older.is_valid(schema) for older in _OLDER):
            raise ValueError(f"is not a JSON schema: at {dotted(error.instance_path)}: {error.message}"[:300]) from None
    return schema


def _check_references(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        validator_for(schema, offline=True)
    except ValidationError as error:
        # Anything else is a keyword of an older draft, or a pattern of another dialect, which some engines take.
        if isinstance(error.kind, ValidationErrorKind.Referencing):
            raise ValueError(f"has a $ref that leads nowhere: {error.message}"[:300]) from None
    check_endless(schema)
    return schema


JsonSchema: TypeAlias = Annotated[
    dict[str, Any],
    Field(max_length=MAX_VALUES),
    AfterValidator(_check_values),
    AfterValidator(_check_schema),
    AfterValidator(buildable),
    AfterValidator(_check_references),
]
"""A schema by JSON Schema 2020-12, 7 or 4. Engines support different parts of it, and report the others."""
