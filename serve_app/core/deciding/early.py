"""Whether answers that have not arrived can still change a tier's decision, or which answer is returned.

Each missing answer may fail, or be cut short and discarded; or it survives, with any text or none. The bounds hold for
all of that. They are filled-in matrices, or confidences, that the same functions judge as those of a whole tier: these
functions are monotone in floats, too, so a bound that is attained is met exactly.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from math import fsum, isnan
from typing import Literal

from serve_app.core.deciding.agreement import Survivors, agree, combined, confide, output_scores, resolved
from serve_app.core.deciding.deferral import answers_needed
from serve_app.core.types.policy import Confidence, Tier
from serve_app.core.types.scores import Matrix
from serve_app.core.types.signal_range import SLACK, Range


@dataclass(frozen=True, slots=True)
class Settled:
    """A decision that no missing answer can change. The agreement ends up between `lowest` and `highest`.

    `selected` is the index of the best answer so far, to be returned if the tier accepts; `selection` is whether it is
    so whatever the missing answers are. A tier that defers returns none of them.
    """

    accepted: bool
    lowest: float
    highest: float
    selected: int | None = None
    selection: bool = True


def settled(alive: Survivors, missing: Collection[int], similarities: Matrix | None = None) -> Settled | None:
    """Return the decision if the answers of the tier's models `missing` cannot change it, otherwise None.

    `alive` are the survivors among the answers that have arrived, and `similarities` has a row and a column for each;
    a tier with a token-level signal needs none.
    """
    tier = alive.tier
    if tier.signal_range is None or tier.blend is not None:
        return None
    if tier.token_level and tier.confidence is not None:
        return _by_confidence(alive, missing, tier.confidence, tier.signal_range)
    if similarities is None or len(similarities) < 2:
        return None
    settlement = _settlement(alive, _bounds(tier, similarities, len(missing), tier.signal_range))
    if settlement is None or not settlement.accepted:
        return settlement
    selected = agree(alive, similarities).selected
    assert selected is not None  # nothing is accepted otherwise
    selection = tier.select is not None or _stays_best(alive, selected, missing, similarities, tier.signal_range)
    return replace(settlement, selected=selected, selection=selection)


def worth_scoring(alive: Survivors, missing: Collection[int]) -> bool:
    """Return whether some similarities of the answers so far would settle the decision: the highest, or the lowest."""
    tier, n = alive.tier, len(alive.indices)
    if tier.signal_range is None or tier.blend is not None or tier.token_level or not missing or n < 2:
        return False
    extremes = [((value,) * n,) * n for value in (tier.signal_range.high, tier.signal_range.low)]
    return any(_settlement(alive, _bounds(tier, matrix, len(missing), tier.signal_range)) for matrix in extremes)


def _settlement(alive: Survivors, bounds: Iterable[tuple[int, float, float]]) -> Settled | None:
    """Return the decision, without a selection, that is the same within all bounds: (survivors, lowest s, highest s).

    With fewer survivors than it needs the tier defers, whatever their agreement is. One that accepts anything defers
    only once all answers are there and none can be returned, so that it is never settled that it defers.
    """
    minimum = answers_needed(alive.tier)
    values = [(low, high) for count, low, high in bounds if count >= minimum]
    if not values or any(map(isnan, chain(*values))):
        return None
    lowest, highest = min(low for low, _ in values), max(high for _, high in values)
    threshold = resolved(alive.tier.threshold)
    if len(alive.indices) >= minimum and alive.returnable and lowest >= threshold:
        return Settled(True, lowest, highest)
    return Settled(False, lowest, highest) if highest < threshold and not alive.tier.accepts_any else None


def _by_confidence(alive: Survivors, missing: Collection[int], confidence: Confidence, limits: Range) -> Settled | None:
    """Return what `settled` returns under a token-level signal."""
    tier, agreement = alive.tier, confide(alive, confidence)
    scores = [score for score in agreement.output_scores if score is not None]
    least, most = resolved(limits.low), resolved(limits.high)

    def bounds() -> Iterator[tuple[int, float, float]]:
        for more in range(0 if scores else 1, len(missing) + 1):
            lowest, highest = (combined(tier, [*scores, *[limit] * more]) for limit in (least, most))
            yield len(scores) + more, resolved(lowest), resolved(highest)

    settlement = _settlement(alive, bounds())
    if settlement is None or not settlement.accepted:
        return settlement
    assert agreement.selected is not None  # nothing is accepted otherwise
    best = agreement.output_scores[agreement.selected]
    assert best is not None
    ahead = all(best > most or (best == most and agreement.selected < index) for index in missing)
    return replace(settlement, selected=agreement.selected, selection=tier.select is not None or ahead)


def _bounds(tier: Tier, similarities: Matrix, missing: int, limits: Range) -> Iterator[tuple[int, float, float]]:
    """Yield the bounds of s with each number of missing answers surviving, given the n >= 2 texts so far."""
    n = len(similarities)
    nearest = min(limits.high, limits.nearest(similarities) / n + SLACK)
    for more in range(missing + 1):
        lowest = _scores(tier, similarities, more, limits.low, limits.low)
        highest = _scores(tier, similarities, more, nearest, limits.high)
        if tier.agreement == "max":
            # A missing text may equal any one of the texts so far, but is not `nearest` to one more than to the others.
            highest[:n] = _scores(tier, similarities, more, limits.high, limits.high)[:n]
        yield n + more, resolved(combined(tier, lowest)), resolved(combined(tier, highest))


def _scores(tier: Tier, similarities: Matrix, more: int, value: float, among: float) -> list[float]:
    """Return the output scores if `more` texts have `value` with the texts so far, and `among` with each other."""
    extra = (value,) * len(similarities) + (among,) * more
    matrix = (*((*row, *(value,) * more) for row in similarities), *(extra,) * more)
    return list(map(resolved, output_scores(matrix, tier.direction)))


def _stays_best(alive: Survivors, best: int, missing: Collection[int], similarities: Matrix, limits: Range) -> bool:
    """Return whether the tier's answer `best` has the highest output score whatever the missing answers are.

    Compared are sums of similarities, n - 1 times the output scores. A missing text may always equal the best one, so
    the best must win that tie: it is named first, and the two sums have the same terms. Angles may round differently.
    """
    if limits.relation == "angles" or any(index < best for index in missing):
        return False
    equality, row = limits.relation == "equality", alive.indices.index(best)
    values = _paired(similarities, alive.tier.direction)
    sums = [fsum(line[:k] + line[k + 1 :]) for k, line in enumerate(values)]
    if not equality:
        # One missing text has the best one's value with it in its own sum, and at most `high` with the others. Two may
        # be closer to each other; and in one direction alone the two values of a pair may differ.
        full = all(value == limits.high for k, value in enumerate(values[row]) if k != row)
        if not full or len(missing) > 1 or alive.tier.direction != "both":
            return False
    for k, index in enumerate(alive.indices):
        same = values[row][k] == 1 if equality else alive.texts[row] == alive.texts[k]
        if k == row or same:
            continue  # equal scores, of which the best is the first
        lead = sums[row] - sums[k] - len(missing) * (limits.high - limits.low)
        if lead <= SLACK and not (equality and lead == 0 and best < index):
            return False
    return not equality or sums[row] + 1 >= len(missing)  # else all missing texts are equal, and more than these


def _paired(similarities: Matrix, direction: Literal["both", "hypothesis", "reference"]) -> list[list[float]]:
    """Return the values of each pair, in the direction of the tier: a text's output score is the mean of its row."""
    n = range(len(similarities))
    if direction == "both":
        return [[(similarities[i][j] + similarities[j][i]) / 2 for j in n] for i in n]
    return [[similarities[i][j] if direction == "hypothesis" else similarities[j][i] for j in n] for i in n]
