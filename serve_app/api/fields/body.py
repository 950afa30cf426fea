"""The base class and the plain field types of every part of a request."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, NamedTuple, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from serve_app.core.text.characters import HALF_PAIR


class UnknownField(NamedTuple):
    """The value of a field that a body does not have: the names of those that it has, for the error about it."""

    available: frozenset[str]


class Body(BaseModel):
    """Refuses unknown fields and does not convert values (no `"5"` for 5). A null is taken as an absent field."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    ignored: ClassVar[tuple[str, ...]] = ()
    """Fields that are ignored whatever their value."""
    neutral: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Fields that are not honoured, with the values that have no effect and so are accepted."""

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
        known = {name: value for name, value in fields.items() if name in cls.field_names()}
        return known if unknown is None else known | {unknown: UnknownField(cls.field_names())}

    @classmethod
    @cache
    def field_names(cls) -> frozenset[str]:
        """Return the names of all fields as clients write them."""
        return frozenset(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def is_neutral(cls, name: str, value: Any) -> bool:
        """Return whether a field that is not honoured may be left out without a change of the answer."""
        if name in cls.ignored:
            return True
        # In Python True equals 1, but to a client they are different values.
        return name not in cls.field_names() and any(
            value == neutral and isinstance(value, bool) == isinstance(neutral, bool)
            for neutral in cls.neutral.get(name, ())
        )


def encodable(text: str) -> str:
    """Return the text. Raises `ValueError` if it has no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(HALF_PAIR) from None
    return text


Text: TypeAlias = Annotated[str, AfterValidator(encodable)]
"""A string that models can read: JSON can carry halves of UTF-16 pairs, which have no UTF-8."""
