"""How agreement is spread over requests, in bins of one width."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import isfinite

from serve_app.core.record_json import JsonObject
from serve_app.core.types.signal_range import Range

BINS = 40


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie in each of equally wide bins from `low` to `high`.

    A value on the border of two bins lies in the upper one, and one outside of them all in the nearest.
    """

    low: float
    high: float
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: Sequence[float], signal_range: Range | None, numbers: Iterable[int] = repeat(1)) -> "Histogram":
        """Return the histogram of finite values over a signal's range, which is widened, if need be, to hold them all.

        Each value is there as often as its number says. An unknown range is taken for 0 to 1; if a range has no end,
        the bins end with the values.
        """
        ends = (0.0, 1.0) if signal_range is None else (signal_range.low, signal_range.high)
        points = [*filter(isfinite, ends), *values] or [0.0]
        return cls(min(points), max(points), (0,) * BINS).filled(values, numbers)

    def filled(self, values: Iterable[float], numbers: Iterable[int] = repeat(1)) -> "Histogram":
        """Return the histogram of other finite values in the same bins, each as often as its number says."""
        bins, width = len(self.counts), self.high - self.low
        counts = [0] * bins
        for value, number in zip(values, numbers, strict=False):  # the numbers may have no end
            position = int((value - self.low) / width * bins) if width > 0 else 0
            counts[max(0, min(bins - 1, position))] += number
        return Histogram(self.low, self.high, tuple(counts))

    def to_json(self) -> JsonObject:
        """Return the fields by name."""
        return {"low": self.low, "high": self.high, "counts": list(self.counts)}
