"""Similarity matrix -> output scores, agreement, selected answer (paper, sections 3.1, 3.2 and 3.4)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, inf, isnan, nan
from typing import Literal, TypeGuard

from serve_app.core.types.answer import Answer, Generation
from serve_app.core.types.policy import Agreement, Confidence, Tier
from serve_app.core.types.scores import Matrix
from serve_app.core.views.view import View

DECIMALS = 9
"""Resolution of scores and thresholds: above the rounding of floats, whose order would else break ties at random."""


def resolved(score: float) -> float:
    """Return a score, or a threshold, at the resolution at which they are compared."""
    return round(score, DECIMALS)


@dataclass(frozen=True, slots=True)
class Survivors:
    """The answers of a tier that are compared: worked out once a tier, and handed on.

    `answers[k]` is that of the tier's model `indices[k]`, and `texts[k]` what the tier's signal sees of it; a tier that
    compares nothing has no texts. `returnable` are the indices of those that may be returned:
    they have a text or call a tool, and are the fixed model's if the tier names one.
    """

    tier: Tier
    indices: tuple[int, ...]
    answers: tuple[Generation, ...]
    texts: tuple[str, ...]
    returnable: tuple[int, ...]


def survivors(tier: Tier, answers: Sequence[Answer | None], texts: Sequence[str] | None = None) -> Survivors:
    """Return the answers that are compared: no failures and, if the tier says so, none that was cut short.

    An empty answer survives: it disagrees with every other, but it is never selected. `texts` are what is `compared` of
    all answers, if that has been worked out before.
    """
    alive = {i: answer for i, answer in enumerate(answers) if survives(answer, tier)}
    returnable = tuple(i for i, answer in alive.items() if may_return(answer, tier, i))
    compared_texts: tuple[str, ...] = ()
    if not tier.token_level:
        compared_texts = tuple(
            compared(answer, tier.compare) if texts is None else texts[i] for i, answer in alive.items()
        )
    return Survivors(tier, tuple(alive), tuple(alive.values()), compared_texts, returnable)


def compared(answer: Answer | None, view: View | None) -> str:
    """Return what a signal sees of an answer: of a text what the view shows; tool calls whole; nothing of a failure."""
    if not isinstance(answer, Generation):
        return ""
    return answer.compared if view is None or answer.tool_calls else view.of(answer.text)


def survives(answer: Answer | None, tier: Tier) -> TypeGuard[Generation]:
    """Return whether the answer is compared with the others."""
    return isinstance(answer, Generation) and (tier.truncated == "keep" or answer.finish_reason != "length")


def may_return(answer: Generation, tier: Tier, index: int) -> bool:
    """Return whether a surviving answer, that of the tier's model `index`, may be the selected one."""
    return tier.select in (None, tier.models[index]) and not answer.empty


def output_scores(
    similarities: Matrix, direction: Literal["both", "hypothesis", "reference"] = "both"
) -> tuple[float, ...]:
    """Return o_i for each of n >= 2 texts: the mean over j != i of (S_ij + S_ji) / 2, or of one direction alone.

    The paper names no direction; averaging both is our choice. Raises `ValueError` if n < 2.
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
    """Return the mean, summed exactly so that the order of members changes no score, and clamped to the values' range.

    Unclamped, three similarities of 0.1 have a mean above 0.1, and others fall short of an equal threshold.
    """
    try:
        mean = fsum(values) / len(values)
    except (OverflowError, ValueError):  # too large to add up, or infinities of both signs
        return nan
    return mean if isnan(mean) else min(max(values), max(min(values), mean))


def agree(alive: Survivors, similarities: Matrix | None) -> Agreement:
    """Return how far the surviving answers agree.

    `similarities` has a row and a column for each survivor, in their order; it is None if nothing could be compared.
    Then there is no agreement, but the first answer with a text is still selected, in case nothing better comes.
    """
    tier = alive.tier
    if similarities is None or len(alive.indices) < 2:
        scores: tuple[float | None, ...] = (None,) * len(tier.models)
        return Agreement(alive.indices, scores, None, next(iter(alive.returnable), None))
    output = output_scores(similarities, tier.direction)
    if tier.blend and tier.confidence:
        confidences = _confidences(alive, tier.confidence)
        output = tuple(tier.blend(o, c) for o, c in zip(output, confidences, strict=True))
    return _judged(alive, output)


def confide(alive: Survivors, confidence: Confidence) -> Agreement:
    """Return the agreement under a token-level signal.

    o_i is answer i's confidence, s their mean (paper, section 3.4) or maximum.
    """
    return _judged(alive, _confidences(alive, confidence))


def _confidences(alive: Survivors, confidence: Confidence) -> tuple[float, ...]:
    models = alive.tier.models
    return tuple(confidence(models[i], answer) for i, answer in zip(alive.indices, alive.answers, strict=True))


def _judged(alive: Survivors, output: Sequence[float]) -> Agreement:
    """Return the agreement of the survivors that have these output scores, in their order, at their resolution."""
    scores = dict(zip(alive.indices, map(resolved, output), strict=True))
    by_model = tuple(scores.get(i) for i in range(len(alive.tier.models)))
    value = resolved(combined(alive.tier, scores.values())) if scores else None
    return Agreement(alive.indices, by_model, value, _best(alive.returnable, scores))


def _best(returnable: Sequence[int], scores: Mapping[int, float]) -> int | None:
    """Return the index with the highest score; `max` keeps the first of equals, the model named first.

    A NaN counts as the lowest: `max` would keep it or not, depending on the order.
    """
    return max(returnable, key=lambda i: -inf if isnan(scores[i]) else scores[i], default=None)


def combined(tier: Tier, scores: Collection[float]) -> float:
    """Return s from o_1 ... o_n, NaN if one of them is: `max` alone would see it or not, depending on the order."""
    if tier.agreement == "mean":
        return _mean(scores)
    return nan if any(map(isnan, scores)) else max(scores)
