"""Circuit breakers: a model or scorer that failed several times in a row is left out, then tried with one call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic

from serve_app.config.services import CircuitBreakerConfig


class Trial:
    """One call as its breaker sees it; a call that says nothing, such as a cancelled one, counts for nothing."""

    def __init__(self) -> None:
        self.works: bool | None = None


class CircuitBreaker:
    """Counts failures in a row, and opens after `failures` of them: then nothing is called for `open_s` seconds.

    After that one call is let through (half open). Its success closes the breaker; its failure doubles the time.
    """

    def __init__(self, config: CircuitBreakerConfig, clock: Callable[[], float] = monotonic) -> None:
        self._config = config
        self._clock = clock
        self._failures = 0
        self._open_s = config.open_s
        self._opened: float | None = None
        self._trying = False

    def apart(self) -> "CircuitBreaker":
        """Return a closed breaker by the same rules, which hears of other calls."""
        return CircuitBreaker(self._config, self._clock)

    @property
    def left_s(self) -> float | None:
        """For how many more seconds calls are refused, or None if they are not. 0: until the trial has ended."""
        if self._opened is None:
            return None
        left = self._opened + self._open_s - self._clock()
        return left if left > 0 else 0.0 if self._trying else None

    @property
    def closed(self) -> bool:
        """Whether calls are let through without being trials."""
        return self._opened is None

    @property
    def failures(self) -> int:
        """How many calls in a row have failed."""
        return self._failures

    @contextmanager
    def trial(self) -> Iterator[Trial]:
        """Run a call; the body says of its trial whether what it called works."""
        trial = Trial()
        half_open = self._opened is not None and not self._trying
        self._trying = self._trying or half_open
        try:
            yield trial
        finally:
            if half_open:
                self._trying = False
            if trial.works is not None:
                self._note(trial.works, half_open)

    def _note(self, works: bool, half_open: bool) -> None:
        if works:
            self._failures, self._opened, self._open_s = 0, None, self._config.open_s
            return
        self._failures += 1
        if half_open:
            self._opened, self._open_s = self._clock(), min(2 * self._open_s, self._config.longest_s)
        elif self._opened is None and self._failures >= (self._config.failures or inf):
            self._opened = self._clock()
