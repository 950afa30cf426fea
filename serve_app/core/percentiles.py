"""Percentiles by nearest rank: always a value that was measured."""

from collections.abc import Iterable
from math import ceil


def nearest_rank(values: Iterable[float], percent: float) -> float | None:
    """Return the smallest value that at least `percent` percent of them do not exceed, or None without values."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] if ordered else None
