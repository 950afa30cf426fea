"""Results -> plain JSON values: NaN becomes null, an infinite number "inf" or "-inf", the rest has 8 digits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from math import isinf, isnan
from typing import Any, TypeAlias

import numpy as np

from serve_app.evaluation.statistics.bootstrap import Interval
from serve_app.evaluation.statistics.curves import AtBudget, Floats

Body: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """A result that has a JSON form; the base of what the commands return."""

    def to_json(self) -> Body:
        """Return the fields by name, as plain JSON values."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}


def plain(value: object) -> Any:
    """Return a value of a result as a JSON value: an interval as [estimate, low, high], keys of mappings as strings."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return number(value)
        case Interval():
            return numbers((value.estimate, value.low, value.high))
        case AtBudget():
            point = value.point
            at = {"threshold": point.threshold, "rate": point.rate, "x": point.x, "quality": point.quality}
            return {"quality": number(value.quality), "point": plain(at)}
        case Result():
            return value.to_json()
        case Mapping():
            return {_key(key): plain(item) for key, item in value.items()}
        case list() | tuple() | np.ndarray():
            return [plain(item) for item in value]
    raise TypeError(f"A result cannot hold {value!r}: it has no JSON form.")


def _key(key: object) -> str:
    return f"{key:g}" if isinstance(key, float) else str(key)


def number(value: float) -> float | str | None:
    """Return a number rounded to 8 significant digits, None for NaN, "inf" or "-inf"."""
    if isnan(value):
        return None
    return ("inf" if value > 0 else "-inf") if isinf(value) else float(f"{value:.8g}")


def numbers(values: Iterable[float] | Floats) -> list[float | str | None]:
    """Return `number` of each value."""
    return [number(float(value)) for value in values]
