"""The base of all configs: what they refuse, and how."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, model_validator


def _bools_as_numbers(written: object, read: object, path: str = "") -> Iterator[str]:
    """Yield a sentence for each true or false (in YAML also yes, no, on and off) that was read as 1 or 0."""
    if isinstance(written, bool):
        if isinstance(read, int | float) and not isinstance(read, bool):
            yield f"{path}: must be a number, got {str(written).lower()}"
    elif isinstance(written, Mapping) and isinstance(read, Mapping | BaseModel):
        values = dict(read)
        for key, value in written.items():
            yield from _bools_as_numbers(value, values.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(written, list | tuple) and isinstance(read, list | tuple):
        for number, (value, read_value) in enumerate(zip(written, read, strict=False)):
            yield from _bools_as_numbers(value, read_value, f"{path}[{number}]")


class Strict(BaseModel):
    """Refuses unknown keys, numbers that are not finite and booleans in place of numbers; immutable.

    Its errors do not quote the input, which may hold a secret: Ray Serve logs them as they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_validator(mode="wrap")
    @classmethod
    def _reject_bool_as_number(cls, written: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        # Pydantic's own strictness would refuse 0.49e9 as well, which YAML says is text. What engines and signals
        # nest in ours is looked through from here.
        values = read(written)
        for sentence in _bools_as_numbers(written, values):
            raise ValueError(sentence)
        return values
