"""Which fault begins when, and for how long: drawn from a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

BREAK_S = (4.0, 9.0)
"""Between two faults, so that what follows belongs to one of them."""
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
