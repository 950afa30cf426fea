"""Agreement -> Decision: the one place where a request is accepted or deferred (paper, section 3.1)."""

from dataclasses import replace

from serve_app.core.deciding.agreement import Survivors, may_return, resolved, survives
from serve_app.core.types.answer import Answer
from serve_app.core.types.outcome import Force
from serve_app.core.types.policy import Agreement, Decision, Reason, Tier


def answers_needed(tier: Tier) -> int:
    """Return how many answers must survive before this tier can accept anything.

    `min_answers`, or all of a tier that has fewer members; but a similarity needs two answers to compare.
    """
    return max(min(tier.min_answers, len(tier.models)), 1 if tier.token_level else 2)


class Prospects:
    """Whether a tier can still accept anything, kept up to date as its answers arrive. Each is looked at once.

    An answer that has not arrived counts as one that will survive and has a text.
    """

    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self._alive = len(tier.models)
        self._survived = 0
        self._may_return = False
        self._returnable = {i for i, model in enumerate(tier.models) if tier.select in (None, model)}

    def arrived(self, index: int, answer: Answer) -> None:
        """Take in the answer of the tier's model `index`."""
        if not survives(answer, self._tier):
            self._alive -= 1
            self._returnable.discard(index)
            return
        self._survived += 1
        if may_return(answer, self._tier, index):
            self._may_return = True
        else:
            self._returnable.discard(index)

    @property
    def hopeful(self) -> bool:
        """Return whether enough answers can survive, and one of them may be returned."""
        minimum = min(answers_needed(self._tier), len(self._tier.models))
        return self._alive >= minimum and bool(self._returnable)

    @property
    def enough(self) -> bool:
        """Return whether the tier's quorum has arrived, with an answer that may be returned."""
        return self._tier.quorum is not None and self._survived >= self._tier.quorum and self._may_return


def worth_comparing(alive: Survivors) -> list[str] | None:
    """Return the survivors' texts for a scorer to compare, or None if the tier defers in any case."""
    if len(alive.indices) < answers_needed(alive.tier) or not alive.returnable:
        return None
    return list(alive.texts)


def standing_in(tier: Tier) -> Tier | None:
    """Return the tier as it decides if its scorer fails, by the signal that stands in; None if the tier names none."""
    if tier.stand_in is None:
        return None
    return replace(
        tier,
        signal=tier.stand_in.signal,
        threshold=tier.stand_in.threshold,
        confidence=None,
        blend=None,
        signal_range=None,
        stand_in=None,
        stands_in_for=tier.signal,
    )


def decide(tier: Tier, agreement: Agreement, force: Force | None = None) -> Decision:
    """Accept if s >= t, else defer. `force` overrides the comparison, but cannot accept if there is no answer.

    A tier that accepts anything does so unless there is no answer, or the request says otherwise.
    """
    accepted, reason = _verdict(tier, agreement, force)
    if tier.accepts_any and force is None and not accepted and agreement.selected is not None:
        accepted, reason = True, "shed"
    return Decision(accepted, reason, agreement.value, tier.threshold, agreement.selected)


def _verdict(tier: Tier, agreement: Agreement, force: Force | None) -> tuple[bool, Reason]:
    if force == "defer":
        return False, "forced"
    if force == "accept" and agreement.selected is not None:
        return True, "forced"
    if tier.select is not None and agreement.selected is None:
        return False, "nothing_to_return"  # first, since the others may have been stopped for it
    if len(agreement.survivors) < answers_needed(tier):
        return False, "too_few_answers"
    if agreement.selected is None:
        return False, "nothing_to_return"
    if agreement.value is None:
        return False, "scorer_failed"
    accepted = agreement.value >= resolved(tier.threshold)  # a NaN compares false, and so defers
    return accepted, _reason(tier, accepted)


def decide_early(tier: Tier, accepted: bool, selected: int | None) -> Decision:
    """Return the decision that no missing answer can change; its agreement is unknown."""
    return Decision(accepted, _reason(tier, accepted), None, tier.threshold, selected)


def _reason(tier: Tier, accepted: bool) -> Reason:
    if tier.token_level:
        return "confident" if accepted else "unsure"
    if tier.stands_in_for is not None:
        return "lexical_agreement" if accepted else "lexical_disagreement"
    return "agreement" if accepted else "disagreement"
