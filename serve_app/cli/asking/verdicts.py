"""The decisions of a record, a line each."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from serve_app.cli.asking.text import clean, decimal
from serve_app.core.record import DecisionRecord, TierDecision, TierRecord

if TYPE_CHECKING:
    from rich.text import Text


def verdicts(record: DecisionRecord) -> "Iterator[Text]":
    """Yield a line for each tier that had something to decide, and one if a cache answered or the target failed."""
    from rich.text import Text

    tiers = record.tiers
    if (skipped := record.skipped) is not None:
        share = "n/a" if skipped.share is None else f"{skipped.share:.0%}"
        past = f"{share} of {skipped.neighbours} past requests like it were deferred"
        asked_model = next((name for tier in tiers for name in tier.models), record.answered_by)
        yield Text(f"{past}, so {asked_model} alone was asked", "green")
    elif asked_alone(record):
        yield Text(f"{record.answered_by} was asked alone, so there was nothing to decide")
    for number, tier in enumerate(tiers, 1):
        if tier.decision is None:
            continue
        if tier.decision.accepted:
            result, style = f"accepted, {tier.decision.selected} answered", "green"
        else:
            following = f" to {' + '.join(tiers[number].models)}" if number < len(tiers) else ""
            result, style = f"deferred{following}", "yellow"
        prefix = f"tier {number}: " if several_decided(tiers) else ""
        yield Text(f"{prefix}{_why(tier.decision)}: {result}", style)
        if tier.scorer_error:
            yield Text(clean(tier.scorer_error), "red")
    if (shed := record.shed) is not None:
        effect = "any answer of the members was accepted" if shed.by == "members" else "a lower threshold decided"
        yield Text(f"{shed.pressure:.0%} of the target's queue was taken, so {effect}", "yellow")
    if record.cached:
        source = "shared with an equal request" if record.cached.shared else f"cached {record.cached.age_s:.0f} s ago"
        yield Text(f"{source}, so no model was asked", "green")
    if record.replaced:
        model = record.replaced.model
        cause = "was not asked, for the budget" if record.replaced.kind == "unaffordable" else "failed"
        yield Text(f"{model} {cause}, so the best member answer stands in, by {record.answered_by}", "red")


def asked_alone(record: DecisionRecord) -> bool:
    """Return whether one model was asked and nothing was to be decided."""
    return not record.tiers or record.tiers[0].decision is None


def several_decided(tiers: Sequence[TierRecord]) -> bool:
    """Return whether more than one tier decided something, so that a line must name its tier."""
    return sum(tier.decision is not None for tier in tiers) > 1


REASONS = {
    "too_few_answers": "too few answers to compare",
    "refused": "a model cannot do what the request asks for",
    "nothing_to_return": "no answer that could be returned",
    "scorer_failed": "scoring failed",
    "forced": "forced",
}


def _why(decision: TierDecision) -> str:
    compared = _comparison(decision)
    if decision.reason in ("agreement", "disagreement", "confident", "unsure"):
        return f"{compared} ({decision.signal})"
    details = f"{decision.signal}, {compared}" if decision.agreement is not None else decision.signal
    return f"{REASONS.get(decision.reason, decision.reason.replace('_', ' '))} ({details})"


def _comparison(decision: TierDecision) -> str:
    """Return `agreement 0.73 < threshold 0.80`, with as many digits as the two need to differ."""
    value, threshold = decision.agreement, decision.threshold
    bound = ""
    if decision.agreement_bounds is not None:
        lowest, highest = decision.agreement_bounds
        value, bound = (lowest, "at least ") if decision.accepted else (highest, "at most ")
    name = "confidence" if decision.reason in ("confident", "unsure") else "agreement"
    if value is None or threshold is None:
        return f"no {name} to compare with threshold {decimal(threshold)}"
    digits = next((d for d in range(2, 5) if round(threshold, d) == threshold), 4)
    while digits < 9 and value != threshold and round(value, digits) == round(threshold, digits):
        digits += 1
    sign = ">=" if value >= threshold else "<"
    return f"{name} {bound}{decimal(value, digits)} {sign} threshold {decimal(threshold, digits)}"
