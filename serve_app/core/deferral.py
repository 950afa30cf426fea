"""Agreement -> Decision: the one place where a request is accepted or deferred (paper, section 3.1)."""

from collections.abc import Sequence

from serve_app.core.agreement import returnable, survivors
from serve_app.core.types import Agreement, Answer, Decision, Force, Generation, Reason, Tier


def answers_needed(tier: Tier) -> int:
    """How many answers must survive before this tier can accept anything.

    `min_answers`, or all of a tier that has fewer members; but a similarity needs two answers to compare.
    """
    return max(min(tier.min_answers, len(tier.models)), 1 if tier.token_level else 2)


def worth_comparing(tier: Tier, answers: Sequence[Answer | None]) -> list[str] | None:
    """The surviving answers' texts, for a scorer to compare; None where none could be accepted whatever it says."""
    texts = [answer.compared for i in survivors(tier, answers) if isinstance(answer := answers[i], Generation)]
    return texts if len(texts) >= answers_needed(tier) and returnable(tier, answers) else None


def decide(tier: Tier, judged: Agreement, force: Force | None = None) -> Decision:
    """Accept if s >= t, else defer. `force` overrides the comparison, but cannot accept where there is no answer."""
    accepted, reason = _verdict(tier, judged, force)
    return Decision(accepted, reason, judged.value, tier.threshold, judged.selected)


def _verdict(tier: Tier, judged: Agreement, force: Force | None) -> tuple[bool, Reason]:
    if force == "defer":
        return False, "forced"
    if force == "accept" and judged.selected is not None:
        return True, "forced"
    if tier.select is not None and judged.selected is None:
        return False, "nothing_to_return"  # first, since the others may have been stopped for it
    if len(judged.survivors) < answers_needed(tier):
        return False, "too_few_answers"
    if judged.selected is None:
        return False, "nothing_to_return"
    if judged.value is None:
        return False, "scorer_failed"
    accepted = judged.value >= tier.threshold  # a NaN compares false, and so defers
    if tier.token_level:
        return accepted, "confident" if accepted else "unsure"
    return accepted, "agreement" if accepted else "disagreement"
