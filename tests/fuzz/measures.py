"""How long generated inputs take, and whether memory stays flat meanwhile."""

import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from serve_app.errors import CascadeError

MAX_S = 2.0
MAX_GROWTH_BYTES = 40_000_000
"""Of resident memory after the warm-up: 500 bytes for each of 80,000 inputs would be as much."""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def tally(count: int, check: Callable[[int], str]) -> Counter[str]:
    """Check the input of every number, and return how many ended in which way. An error names its number.

    Fails if one takes more than two seconds twice, since other processes may have had the processor at first.
    """
    ways: Counter[str] = Counter()
    warm = 0
    for number in range(count):
        try:
            way, seconds = _timed(check, number)
            if seconds > MAX_S:
                way, seconds = _timed(check, number)
        except Exception as error:
            error.add_note(f"input number {number}")
            raise
        assert seconds <= MAX_S, f"input number {number} took {seconds:.1f} s"
        ways[way] += 1
        if number == count // 5:
            warm = resident_bytes()
    assert resident_bytes() - warm < MAX_GROWTH_BYTES
    return ways


def refused(error: CascadeError) -> str:
    """Return how an input ended that was refused. Fails if nothing says why."""
    assert str(error).strip()
    assert "Traceback" not in str(error)
    return "refused"


def _timed(check: Callable[[int], str], number: int) -> tuple[str, float]:
    begun = time.process_time()
    return check(number), time.process_time() - begun
