"""Which members, signals and thresholds: chosen on one part of the examples, reported on another.

The best of many cascades on the examples they were compared on looks better than it is. So every choice here carries
two results, and the one to believe is `held_out`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, TypeVar

from serve_app.evaluation.statistics.curves import ROUNDING, Integers
from serve_app.evaluation.statistics.pareto import (
    Outcome,
    RecordedTarget,
    RecordedTier,
    Setting,
    front,
    front_of,
    outcome,
    run,
)

Key = TypeVar("Key")

MOST_TIERS = 3
"""Most tiers of a ladder before the target: with a fourth, thresholds take a minute, and requests wait for all."""
Parts = tuple[Integers, Integers]
"""Disjoint indices of examples: to choose on, and to report on."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One way to build a tier from the members in the records."""

    members: tuple[str, ...]
    signal: str


@dataclass(frozen=True, slots=True)
class Alone:
    """A model that answers every request itself, which is no cascade."""

    model: str


def specs(members: Sequence[str], pairwise: Sequence[str], token_level: Sequence[str]) -> Iterator[Spec]:
    """Yield every subset of the members (in their order, small ones first) with every signal that it allows.

    A pairwise signal compares two answers or more; a token-level one needs only one. With m members that are
    (2^m - 1 - m) * pairwise + (2^m - 1) * token-level.
    """
    for size in range(1, len(members) + 1):
        signals = (*pairwise, *token_level) if size > 1 else token_level
        for subset in combinations(members, size):
            yield from (Spec(subset, signal) for signal in signals)


def ladders(
    members: Sequence[str], by_cost: Sequence[str], pairwise: Sequence[str], token_level: Sequence[str]
) -> Iterator[tuple[Spec, ...]]:
    """Yield ladders: two or more tiers, each with the members of the one before it and at least one more.

    Members join in the order `by_cost`, cheapest first; in a tier they have their order in `members`, which decides
    ties. The first tier is one member by a token-level signal, or two by the pairwise one that all other tiers have. No
    ladder has more than `MOST_TIERS`. Those of few and cheap members come first.
    """
    for size in range(2, len(members) + 1):
        for subset in combinations(by_cost, size):
            for sizes in _sizes(size):
                tiers = [tuple(member for member in members if member in subset[:count]) for count in sizes]
                for signal in pairwise:
                    for first in token_level if sizes[0] == 1 else (signal,):
                        yield Spec(tiers[0], first), *(Spec(tier, signal) for tier in tiers[1:])


def _sizes(members: int) -> Iterator[tuple[int, ...]]:
    """Yield the rising sizes of a ladder's tiers: from one or two members to all."""
    for first in range(1, min(3, members)):
        for between in range(MOST_TIERS - 1):
            yield from ((first, *sizes, members) for sizes in combinations(range(first + 1, members), between))


@dataclass(frozen=True, slots=True, eq=False)
class Choice(Generic[Key]):
    """A cascade and its thresholds, as it looked when chosen and as it did on other examples.

    `cascade`: the candidate's key, or that of a model alone, which has no thresholds.
    """

    cascade: Key
    chosen: Setting
    outcome: Outcome

    @property
    def held_out(self) -> Setting:
        """Return the means of the outcome on the held-out examples."""
        return self.outcome.setting


def choose(
    candidates: Iterable[tuple[Key, Sequence[RecordedTier], RecordedTarget]],
    alone: Iterable[tuple[Key, RecordedTarget]],
    parts: Parts,
    *,
    points: int = 101,
    grid: int = 21,
) -> list[Choice[Key]]:
    """Return the Pareto front over all candidates, their thresholds and single models, cheapest first.

    A candidate is a key of the caller's with the arrays of its tiers and its target over all n examples; the iterable
    is read lazily and only the front is kept. `alone`: models that answer every request themselves, which stay if a
    cascade is no better or cheaper. `points` and `grid`: thresholds tried (`front_of`). The front is that of the first
    part: on the second, a cascade may be off it.
    """
    best = [choice_alone(key, model, parts) for key, model in alone]
    best = [best[k] for k in front([choice.chosen.cost for choice in best], [choice.chosen.quality for choice in best])]
    for key, tiers, target in candidates:
        tuned = front_of([tier.take(parts[0]) for tier in tiers], target.take(parts[0]), points, grid)
        tested, testing = [tier.take(parts[1]) for tier in tiers], target.take(parts[1])
        settings = [*(choice.chosen for choice in best), *tuned]
        survivors = front([setting.cost for setting in settings], [setting.quality for setting in settings])
        best = [
            best[k] if k < len(best) else Choice(key, settings[k], outcome(tested, testing, settings[k].thresholds))
            for k in survivors
        ]
    return best


def choice_alone(key: Key, model: RecordedTarget, parts: Parts) -> Choice[Key]:
    """Return a model that answers every request itself as a choice."""
    return Choice(key, run([], model.take(parts[0]), ()), outcome([], model.take(parts[1]), ()))


def best_alone_within(alone: Sequence[Choice[Key]], choice: Choice[Key] | None) -> Choice[Key] | None:
    """Return the model alone that was best when chosen, or None if there is none.

    With a `choice`, of those that cost no more than it did.
    """
    affordable = [
        model for model in alone if choice is None or model.chosen.cost <= choice.chosen.cost * (1 + ROUNDING)
    ]
    return max(affordable, key=lambda model: model.chosen.quality, default=None)


def within_budget(choices: Sequence[Choice[Key]], budget: float) -> Choice[Key] | None:
    """Return the best choice whose mean cost was at most `budget` when chosen, or None if all cost more."""
    affordable = [choice for choice in choices if choice.chosen.cost <= budget * (1 + ROUNDING)]
    return affordable[-1] if affordable else None
