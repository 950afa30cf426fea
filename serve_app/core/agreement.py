"""Similarity matrix -> output scores, agreement, selected answer (paper, sections 3.1, 3.2 and 3.4)."""

from collections.abc import Collection, Mapping, Sequence
from math import fsum, inf, isnan, nan
from typing import Literal

from serve_app.core.types import Agreement, Answer, Confidence, Generation, Matrix, Tier


def survivors(tier: Tier, answers: Sequence[Answer | None]) -> tuple[int, ...]:
    """Indices of the answers that are compared: no failures and, if the tier says so, none that was cut short.

    An empty answer survives: it disagrees with every other, but it is never selected.
    """
    return tuple(i for i, answer in enumerate(answers) if isinstance(answer, Generation) and _counts(tier, answer))


def _counts(tier: Tier, answer: Generation) -> bool:
    return tier.truncated == "keep" or answer.finish_reason != "length"


def output_scores(
    similarities: Matrix, direction: Literal["both", "hypothesis", "reference"] = "both"
) -> tuple[float, ...]:
    """o_i for each of n >= 2 texts: the mean over j != i of (S_ij + S_ji) / 2, or of one direction alone.

    The paper names no direction; averaging both is our choice.
    """
    n = len(similarities)
    if n < 2:
        raise ValueError("Output scores need at least two texts.")
    rows = [[similarities[i][j] for j in range(n) if j != i] for i in range(n)]
    columns = [[similarities[j][i] for j in range(n) if j != i] for i in range(n)]
    if direction == "hypothesis":
        return tuple(map(_mean, rows))
    if direction == "reference":
        return tuple(map(_mean, columns))
    return tuple(_mean(row + column) for row, column in zip(rows, columns, strict=True))


def _mean(values: Collection[float]) -> float:
    """Summed exactly, so that the order of members changes no score, and kept within the values' own bounds.

    Without the bounds three similarities of .1 have a mean above .1, and others fall short of an equal threshold.
    """
    try:
        mean = fsum(values) / len(values)
    except (OverflowError, ValueError):  # too large to add up, or infinities of both signs
        return nan
    return mean if isnan(mean) else min(max(values), max(min(values), mean))


def agree(tier: Tier, answers: Sequence[Answer | None], similarities: Matrix | None) -> Agreement:
    """How far the surviving answers agree.

    `similarities` has a row and a column for each survivor, in their order; None where nothing could be compared.
    Then there is no agreement, but the first answer with a text is still named, in case nothing better comes.
    """
    alive = survivors(tier, answers)
    if similarities is None or len(alive) < 2:
        return Agreement(alive, (None,) * len(answers), None, _best(tier, answers, dict.fromkeys(alive, 0.0)))
    scores = dict(zip(alive, output_scores(similarities, tier.direction), strict=True))
    if tier.blend and tier.confidence:
        scores = {i: tier.blend(o, _confidence(tier, tier.confidence, i, answers[i])) for i, o in scores.items()}
    return _judged(tier, answers, scores, _value(tier, scores.values()))


def confide(tier: Tier, answers: Sequence[Answer | None], confidence: Confidence) -> Agreement:
    """The same for token-level signals: o_i is answer i's confidence, s their mean (paper, section 3.4) or maximum."""
    alive = survivors(tier, answers)
    scores = {i: _confidence(tier, confidence, i, answers[i]) for i in alive}
    return _judged(tier, answers, scores, _value(tier, scores.values()) if scores else None)


def _confidence(tier: Tier, confidence: Confidence, index: int, answer: Answer | None) -> float:
    assert isinstance(answer, Generation)
    return confidence(tier.models[index], answer)


def _judged(
    tier: Tier, answers: Sequence[Answer | None], scores: Mapping[int, float], value: float | None
) -> Agreement:
    by_model = tuple(scores.get(i) for i in range(len(answers)))
    return Agreement(tuple(scores), by_model, value, _best(tier, answers, scores))


def returnable(tier: Tier, answers: Sequence[Answer | None]) -> bool:
    """Whether one of the surviving answers may go back: it has a text, and is the fixed model's if there is one."""
    return _best(tier, answers, dict.fromkeys(survivors(tier, answers), 0.0)) is not None


def _best(tier: Tier, answers: Sequence[Answer | None], scores: Mapping[int, float]) -> int | None:
    """The highest score among answers that have a text; `max` keeps the first of equals, the model named first.

    A NaN counts as the lowest: `max` would keep it or not, depending on the order.
    """
    candidates = [i for i in scores if _has_text(answers[i]) and tier.select in (None, tier.models[i])]
    return max(candidates, key=lambda i: -inf if isnan(scores[i]) else scores[i], default=None)


def _value(tier: Tier, scores: Collection[float]) -> float:
    """s from o_1 ... o_n. NaN if one is: `max` alone would see it or not, depending on the order."""
    if tier.agreement == "mean":
        return _mean(scores)
    return nan if any(map(isnan, scores)) else max(scores)


def _has_text(answer: Answer | None) -> bool:
    return isinstance(answer, Generation) and bool(answer.compared.strip())
