"""Which fault begins when, and for how long: drawn from a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

AFTER_S = 12.0
"""Seconds after a fault that belong to it: what it did to requests may end later."""
BREAK_S = (AFTER_S + 2, AFTER_S + 6)
"""Seconds between two faults: in each break there is a time that no fault excuses."""
LASTS_S = (4.0, 10.0)


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: seconds since the end of the one before, and until it is over."""

    name: str
    after_s: float
    lasts_s: float


def schedule(names: Sequence[str], seed: int) -> Iterator[Planned]:
    """Yield faults without end: every one once, in random order, then every one once more."""
    chance = Random(seed)
    while True:
        for name in chance.sample(names, len(names)):
            yield Planned(name, chance.uniform(*BREAK_S), chance.uniform(*LASTS_S))
