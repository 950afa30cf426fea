"""Results as plain JSON values: numbers that JSON cannot say are None (NaN) or "inf" and "-inf" (thresholds)."""

from collections.abc import Iterable
from math import isinf, isnan
from typing import Any, TypeAlias

from serve_app.evaluation.statistics.bootstrap import Interval
from serve_app.evaluation.statistics.curves import AtBudget, Floats, Point

Body: TypeAlias = dict[str, Any]


def number(value: float) -> float | str | None:
    """Rounded to what anyone could read off."""
    if isnan(value):
        return None
    return ("inf" if value > 0 else "-inf") if isinf(value) else float(f"{value:.8g}")


def numbers(values: Iterable[float] | Floats) -> list[float | str | None]:
    """Each of them."""
    return [number(float(value)) for value in values]


def interval(found: Interval) -> list[float | str | None]:
    """[estimate, low, high]."""
    return numbers((found.estimate, found.low, found.high))


def point(found: Point) -> Body:
    """Where one threshold leads."""
    return {
        "threshold": number(found.threshold),
        "rate": number(found.rate),
        "x": number(found.x),
        "quality": number(found.quality),
    }


def bought(found: AtBudget | None) -> Body | None:
    """What a budget buys: `quality` by mixing the two thresholds around it, `point` by one threshold alone."""
    return None if found is None else {"quality": number(found.quality), "point": point(found.point)}
