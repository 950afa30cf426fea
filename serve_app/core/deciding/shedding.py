"""Shedding: what a cascade does under pressure, and when there is pressure."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from serve_app.core.types.policy import ShedBy, Tier


def shed_tiers(tiers: Sequence[Tier], by: ShedBy, thresholds: Sequence[float] | None = None) -> tuple[Tier, ...] | None:
    """Return a cascade's tiers as they decide under pressure, or None if that is by `thresholds` and there are none.

    No threshold rises, so a request that the cascade accepts is accepted under pressure, too, by the same tier or an
    earlier one. By `members` the last tier before the target accepts whatever can be returned.
    """
    *members, target = tiers
    if by == "members":
        return (*members[:-1], replace(members[-1], accepts_any=True), target)
    if thresholds is None:
        return None
    lower = [replace(tier, threshold=min(tier.threshold, t)) for tier, t in zip(members, thresholds, strict=True)]
    return (*lower, target)


class Hysteresis:
    """Whether there is pressure: from `begin_at` on, until it has been at most `end_at` for `hold_s` seconds.

    `clock` returns seconds. `end_at` is below `begin_at`.
    """

    def __init__(self, begin_at: float, end_at: float, hold_s: float, clock: Callable[[], float]) -> None:
        self.active = False
        self._begin_at = begin_at
        self._end_at = end_at
        self._hold_s = hold_s
        self._clock = clock
        self._low_since: float | None = None

    def observe(self, pressure: float) -> bool:
        """Take in the pressure as it is now, and return whether there is any."""
        now = self._clock()
        if pressure > self._end_at:
            self._low_since = None
        elif self._low_since is None:
            self._low_since = now
        if pressure >= self._begin_at:
            self.active = True
        elif self._low_since is not None and now - self._low_since >= self._hold_s:
            self.active = False
        return self.active
