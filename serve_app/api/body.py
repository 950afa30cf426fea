"""The base class and field types of every part of a request."""

from functools import cache
from typing import Annotated, Any, Literal, TypeAlias

from jsonschema_rs import (
    Draft4Validator,
    Draft7Validator,
    Draft202012Validator,
    ValidationError,
    ValidationErrorKind,
    validator_for,
)
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from serve_app.api.buildable import buildable, children, dotted, pattern_characters

MAX_DEPTH = 64
"""How deep a JSON schema may be nested, since engines process it recursively."""
MAX_VALUES = 2000
"""Values in one JSON schema: validating so many takes 10 to 50 ms, and the time of some grows with their square."""
MAX_PATTERN_CHARACTERS = 1024
"""Characters of all patterns in one JSON schema: compiling `\\w{0,999}` so often takes 50 ms."""

IGNORED: dict[Literal["request", "message", "call", "function", "tool", "part"], tuple[str, ...]] = {
    "request": (
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
    ),
    "message": (
        "id",
        "annotations",
        "cache_control",
        "parsed",
        "provider_specific_fields",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "thinking",
    ),
    "call": ("index", "cache_control", "extra_content", "provider_specific_fields"),
    "function": ("parsed_arguments",),
    "tool": ("cache_control",),
    "part": ("id", "annotations", "cache_control", "prompt_cache_breakpoint"),
}
"""Fields that are ignored whatever their value: hints for caches, and what clients send back of an earlier answer."""


class Body(BaseModel):
    """Refuses unknown fields and does not convert values (no `"5"` for 5). A null is taken as an absent field."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        fields = {
            name: value for name, value in values.items() if value is not None and not cls.is_neutral(name, value)
        }
        # An error for one unknown field is enough: there may be a million.
        unknown = next((name for name in fields if name not in cls.field_names()), None)
        return {name: value for name, value in fields.items() if name in cls.field_names() or name == unknown}

    @classmethod
    @cache
    def field_names(cls) -> frozenset[str]:
        """Return the names of all fields as clients write them."""
        return frozenset(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def is_neutral(cls, name: str, value: Any) -> bool:
        """Return whether a field that is not honoured has a value without effect."""
        return False


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("has half of a surrogate pair, which is not a character") from None
    return text


Text: TypeAlias = Annotated[str, AfterValidator(_encodable)]
"""A string that models can read: JSON can carry halves of UTF-16 pairs, which have no UTF-8."""


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
            _encodable(text)
        if any(isinstance(value, float) and not -float("inf") < value < float("inf") for value in level):
            raise ValueError("has a number that JSON cannot express")
        level = [child for value in level for child in children(value)]
    if level:
        raise ValueError(f"must be nested no deeper than {MAX_DEPTH} levels")
    return schema


def _keys(values: list[Any]) -> list[str]:
    return [key for value in values if isinstance(value, dict) for key in value]


# Otherwise the library would fetch the `$schema` that a client names. Messages say "it" in place of a long value.
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
    return schema


JsonSchema: TypeAlias = Annotated[
    dict[str, Any],
    Field(max_length=MAX_VALUES),
    AfterValidator(_check_values),
    AfterValidator(_check_schema),
    AfterValidator(buildable),
    AfterValidator(_check_references),
]
"""A schema by JSON Schema 2020-12, 7 or 4. Engines differ in what they understand of it, and say so themselves."""
