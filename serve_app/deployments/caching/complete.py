"""Decides which outcomes may be given to another request, now or later."""

from serve_app.core.types.answer import Failure, FailureKind, Generation
from serve_app.core.types.outcome import Outcome, TierResult

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
    tier, kinds = result.tier, {call.answer.kind for call in result.calls if isinstance(call.answer, Failure)}
    # Core stops a call whose answer can change nothing, which is exact; or because the quorum or the tier's time is up.
    allowed = _OF_THE_ANSWER if tier.decides_by_arrival else _OF_THE_ANSWER | {"cancelled"}
    return result.scorer_error is None and kinds <= allowed and not _selected_by_arrival(result)


def _selected_by_arrival(result: TierResult) -> bool:
    """Return whether the answer that was accepted is the best of those that had arrived, not of all."""
    return result.tier.selects_by_arrival and result.bounds is not None and result.decision.accepted
