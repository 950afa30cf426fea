"""A tier's answers and their similarities or confidences -> agreement, in one step."""

from collections.abc import Sequence

from serve_app.core.deciding.agreement import agree, confide, survivors
from serve_app.core.types.answer import Answer
from serve_app.core.types.policy import Agreement, Confidence, Tier
from serve_app.core.types.scores import Matrix


def agreed(tier: Tier, answers: Sequence[Answer | None], similarities: Matrix | None) -> Agreement:
    return agree(survivors(tier, answers), similarities)


def confided(tier: Tier, answers: Sequence[Answer | None], confidence: Confidence) -> Agreement:
    return confide(survivors(tier, answers), confidence)
