"""Circuit breakers: a model or scorer that failed several times in a row is left out, then tried with one call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic

from serve_app.config.services import CircuitBreakerConfig


class Trial:
    """One call as its breaker sees it; a call that reports nothing, such as a cancelled one, counts for nothing.

    `succeeding` is called with each report that what it called works.
    """

    def __init__(self, succeeding: Callable[["Trial"], None] | None = None) -> None:
        self.works: bool | None = None
        self._succeeding = succeeding

    def report(self, works: bool | None) -> None:
        """Report whether what was called works, as far as the call shows by now; its last report counts."""
        self.works = works
        if works and self._succeeding is not None:
            self._succeeding(self)


class CircuitBreaker:
    """Counts failures in a row, and opens after `failures` of them: then nothing is called for `open_s` seconds.

    After that one call is let through (half open), and others as soon as it reports that it works, such as by the first
    piece of a stream. Its success in the end closes the breaker; its failure doubles the time.
    """

    def __init__(self, config: CircuitBreakerConfig, clock: Callable[[], float] = monotonic) -> None:
        self._config = config
        self._clock = clock
        self._failures = 0
        self._open_s = config.open_s
        self._opened: float | None = None
        self._trial: Trial | None = None

    def closed_copy(self) -> "CircuitBreaker":
        """Return a closed breaker by the same rules, for other calls."""
        return CircuitBreaker(self._config, self._clock)

    @property
    def left_s(self) -> float | None:
        """Return for how many more seconds calls are refused, or None if they are not. 0: until the trial has ended."""
        if self._opened is None:
            return None
        remaining_s = self._opened + self._open_s - self._clock()
        return remaining_s if remaining_s > 0 else None if self._trial is None else 0.0

    @property
    def closed(self) -> bool:
        """Return whether calls are let through without being trials."""
        return self._opened is None

    @property
    def failures(self) -> int:
        """Return how many calls in a row have failed."""
        return self._failures

    @contextmanager
    def trial(self) -> Iterator[Trial]:
        """Run a call; the body reports to its trial whether what it called works."""
        trial = Trial(self._let_others_through)
        half_open = self._opened is not None and self._trial is None
        if half_open:
            self._trial = trial
        try:
            yield trial
        finally:
            if self._trial is trial:
                self._trial = None
            if trial.works is not None:
                self._note(trial.works, half_open)

    def _let_others_through(self, trial: Trial) -> None:
        # Its failures are not forgotten yet: if one more call fails meanwhile, the breaker opens again.
        if self._trial is trial:
            self._trial = self._opened = None

    def _note(self, works: bool, half_open: bool) -> None:
        if works:
            self._failures, self._opened, self._open_s = 0, None, self._config.open_s
            return
        self._failures += 1
        if half_open:
            self._opened, self._open_s = self._clock(), min(2 * self._open_s, self._config.longest_s)
        elif self._opened is None and self._failures >= (self._config.failures or inf):
            self._opened = self._clock()
