"""Fields that are one text or several."""

from typing import Any

from pydantic import BeforeValidator


def up_to(most: int) -> BeforeValidator:
    """Return the check of a field that is one text or up to `most`: none is empty, and none a list of tokens."""
    sentence = f"must be one string or up to {most}, none of them empty; token lists are not honoured"

    def check(value: Any) -> Any:
        if isinstance(value, list) and not 0 < len(value) <= most:
            raise ValueError(sentence)
        if not all(isinstance(text, str) and text for text in as_list(value)):
            raise ValueError(sentence)
        return value

    return BeforeValidator(check)


def as_list(value: str | list[str]) -> list[str]:
    """Return the texts of such a field, often one."""
    return value if isinstance(value, list) else [value]
