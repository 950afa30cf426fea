"""Which outcomes may be given to another request, now or later."""

from serve_app.core.types import Failure, FailureKind, Generation, Outcome, TierResult

DETERMINISTIC: frozenset[FailureKind] = frozenset({"refused", "context_length"})
"""Failures that the same request meets every time."""
_OF_THE_ANSWER = DETERMINISTIC | {"invalid_output"}


def complete(outcome: Outcome) -> bool:
    """Return whether an outcome is what the cascade would decide any time: nothing failed that may work next time."""
    return isinstance(outcome.answer, Generation) and not outcome.replaced and all(map(_undisturbed, outcome.tiers))


def shareable(outcome: Outcome) -> bool:
    """Return whether equal requests that wait may have the outcome: an answer, or a failure that they would meet too.

    The best member's answer is not, if it stands in for a target that failed: the next request may reach the target.
    """
    if isinstance(outcome.answer, Failure):
        return outcome.answer.kind in DETERMINISTIC
    return outcome.replaced is None


def _undisturbed(result: TierResult) -> bool:
    kinds = {call.answer.kind for call in result.calls if isinstance(call.answer, Failure)}
    # Core cancels a call once its tier is decided without it, which is exact, or once the tier's time is over.
    allowed = _OF_THE_ANSWER | {"cancelled"} if result.tier.tier_timeout_s is None else _OF_THE_ANSWER
    return result.scorer_error is None and kinds <= allowed
