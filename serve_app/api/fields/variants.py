"""Objects that are one of several kinds, told apart by one field, such as the `type` of a content block."""

from typing import Any

from pydantic import Discriminator, Tag

_WRONG = "wrong_variant:"
"""Prefix of pydantic's error type for an object whose field, which follows, has an unknown kind."""


def variant(value: str) -> Tag:
    """Return the mark of the kind that has this value of the field."""
    return Tag(f"<{value}>")


def is_variant(step: str) -> bool:
    """Return whether a step of an error's location is such a mark, which is not from the client."""
    return step.startswith("<") and step.endswith(">")


def by_field(name: str, *values: str) -> Discriminator:
    """Return the discriminator that chooses the kind by the field `name`, which must have one of `values`."""

    def kind(part: Any) -> str | None:
        value = part.get(name) if isinstance(part, dict) else None
        if value is None:
            value = values[0]  # the errors of any kind name what is missing
        return f"<{value}>" if isinstance(value, str) else None

    return Discriminator(
        kind,
        custom_error_type=_WRONG + name,
        custom_error_message=f"must be {' or '.join(map(repr, values))}",
    )


def wrong_field(error_type: str) -> str | None:
    """Return the field with an unknown kind, or None for another type of error."""
    return error_type.removeprefix(_WRONG) if error_type.startswith(_WRONG) else None
