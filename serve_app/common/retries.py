"""Retries that cannot become a storm: how many there may be, and how long to wait before each."""

from collections.abc import Callable, Mapping
from time import monotonic

RESERVE = 10.0
"""Retries that a client which has failed nothing for a while may make in a row."""
PER_CALL, PER_S = 0.1, 0.1
"""Retries that are saved up with every call, and with every second."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
"""The longest waits before the first retry, and before any; each retry doubles it."""
LONGEST_CREDIBLE_S = 86_400.0
"""A wait of more than a day is taken for a mistake of the other side."""
LONGEST_NAMED_S = 120.0
"""Beyond it a wait that the other side names is not sat out: the failure is passed on."""


class RetryBudget:
    """The retries that may still be made: over any time no more than a reserve, and those saved up with calls and time.

    A token bucket, as Finagle's retry budgets are: if all calls fail, a tenth of them is tried again, not each of them
    several times over. `clock` returns seconds.
    """

    def __init__(
        self,
        reserve: float = RESERVE,
        per_call: float = PER_CALL,
        per_s: float = PER_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._reserve = reserve
        self._per_call = per_call
        self._per_s = per_s
        self._clock = clock
        self._saved = reserve
        self._at = clock()

    def called(self) -> None:
        """Count a call, other than a retry."""
        self._save(self._per_call)

    def take(self) -> bool:
        """Take a retry, and return whether there was one left."""
        self._save(0.0)
        if self._saved < 1:
            return False
        self._saved -= 1
        return True

    def _save(self, more: float) -> None:
        now = self._clock()
        self._saved = min(self._reserve, self._saved + self._per_s * (now - self._at) + more)
        self._at = now


def named_wait_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the other side asks to wait, or None; a date, which few send, is ignored.

    OpenAI and Azure name milliseconds in `retry-after-ms`, which is the more exact one. `headers` know no case.
    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if 0 <= seconds < LONGEST_CREDIBLE_S:
            return seconds
    return None


def wait_s(retry: int, draw: float, named_s: float | None = None) -> float | None:
    """Return the seconds to wait before a retry, counted from 0, or None if that should not be made.

    `draw` is a random number in 0..1. It is a random part of a wait that doubles with each retry ("full jitter";
    Brooker, Exponential Backoff And Jitter, AWS 2015). A wait that the other side names (Retry-After) is made longer by
    up to a tenth, so that not all clients that were told the same come back at the same time, and waited out if it is
    the longer one: the jitter remains if that side names no time at all.
    """
    jittered_s = float(draw * min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(retry, 10)))
    if named_s is None:
        return jittered_s
    return max(named_s * (1 + 0.1 * draw), jittered_s) if named_s <= LONGEST_NAMED_S else None
