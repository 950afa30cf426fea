"""Moving averages of what a router replica sees: of values, and of events a second."""

from collections.abc import Callable
from math import exp

RATE_S = 10.0
"""Time constant of a rate, in seconds: an event counts for 1/e after it."""
MEMORY = 100
"""Observations that the average of values goes back, about."""


class Average:
    """A mean of values in their own unit; after `MEMORY` of them a moving one.

    It may begin with a guess that counts as so many observations.
    """

    def __init__(self, value: float = 0.0, count: int = 0) -> None:
        self.value = value
        self._count = count

    def observe(self, value: float) -> None:
        """Take in a value: 1/k of the average for the k-th, never less than 1/`MEMORY`."""
        self._count = min(self._count + 1, MEMORY)
        self.value += (value - self.value) / self._count


class Rate:
    """Events a second, exponentially weighted over about the last `RATE_S` seconds of the `clock`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._value = 0.0
        self._at = clock()

    def count(self) -> None:
        """Count an event that happens now."""
        self._value = self.value() + 1 / RATE_S
        self._at = self._clock()

    def value(self) -> float:
        """Return the rate now, in events a second."""
        return self._value * exp((self._at - self._clock()) / RATE_S)
