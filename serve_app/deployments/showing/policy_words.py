"""A tier's policy, and a cascade's remedies, in sentences for the config view."""

from collections.abc import Iterator

from serve_app.config import CascadeConfig, ViewConfig
from serve_app.core.types.policy import Tier
from serve_app.errors import counted


def policy_sentences(tier: Tier, following: str | None, compare: ViewConfig | None, *, first: bool) -> list[str]:
    """Return what a tier does. `following` names the models that are asked if it defers, or is None for the last."""
    if following is None:
        requests = "every request" if first else "what is deferred to it"
        return [f"Answers {requests}.", f"May take {tier.timeout_s:g} s."]
    return list(_deciding(tier, following, compare))


def _deciding(tier: Tier, following: str, compare: ViewConfig | None) -> Iterator[str]:
    yield f"Asks {joined(tier.models)}{' at once' if tier.models[1:] else ''}, for up to {tier.timeout_s:g} s."
    measure = "confidence" if tier.token_level else "agreement"
    method = "scores each answer by its own log-probabilities" if tier.token_level else "compares the answers in pairs"
    score = "the best answer's score" if tier.agreement == "max" else "the mean of the answers' scores"
    yield f"The signal {tier.signal} {method}; the {measure} is {score}."
    if compare is not None:
        options = ", ".join(f"{key}: {value}" for key, value in compare.model_dump(exclude_defaults=True).items())
        yield f"Of each answer it sees a view ({options})."
    if tier.direction != "both":
        yield f"An answer is scored as the {tier.direction} only."
    yield f"Accepts if the {measure} is at least {tier.threshold:g}; else it defers to {following}."
    if tier.stand_in is not None:
        stand_in = tier.stand_in
        yield f"If the scorer fails, {stand_in.signal} decides, at {stand_in.threshold:g} (on_scorer_failure)."
    returned = f"the answer of {tier.select}" if tier.select else "the answer with the best score"
    yield f"If it accepts, {returned} goes back."
    if tier.models[1:]:
        yield f"Defers with fewer than {counted(tier.min_answers, 'answer')}."
    if tier.truncated == "discard":
        yield "Answers that are cut at max_tokens do not count."
    if tier.quorum is not None:
        yield f"Decides on the first {tier.quorum} answers."
    if tier.tier_timeout_s is not None:
        yield f"Decides after {tier.tier_timeout_s:g} s on what has arrived."
    if tier.may_settle_early:
        settled = "the decision" if tier.early == "decision" else "the decision or the answer that goes back"
        yield f"Stops waiting once no missing answer can change {settled}."


def remedy_sentences(cascade: CascadeConfig) -> list[str]:
    """Return what a cascade does beside asking its tiers in turn."""
    return list(_remedies(cascade))


def _remedies(cascade: CascadeConfig) -> Iterator[str]:
    if (ahead := cascade.speculate) is not None:
        rules = {"always": "at once", "adaptive": "if the seconds that it should save are worth more than the waste"}
        if ahead.when is not None:
            rule = rules[ahead.when]
        elif ahead.after_s is not None:
            rule = f"if it has not decided after {ahead.after_s:g} s"
        else:
            rule = f"if it takes longer than {ahead.percentile:g}% of its last requests"
        yield f"The next tier is asked before a tier has decided: {rule} (speculate)."
    if (cache := cascade.cache) is not None:
        yield f"Equal requests at temperature 0 are answered from memory for {cache.ttl_s:g} s (cache)."
    if (shed := cascade.shed) is not None:
        effect = "lower thresholds decide" if shed.by == "thresholds" else "the best answer of the members is accepted"
        yield f"While {shed.begin_at:.0%} of the target's queue is taken, {effect} (shed)."
    if (policy := cascade.skip_policy()) is not None:
        for share, end, goes in (
            (policy.defer_above, "deferred", "goes straight to the target"),
            (policy.accept_above, "accepted", f"is answered by {policy.member} alone"),
        ):
            if share is not None:
                alike = f"at least {share:.0%} of the {policy.k} past requests most like it"
                yield f"A request {goes} if {alike} were {end} (skip)."
    if cascade.stickiness == "escalate":
        yield "A conversation that was deferred once stays with the target (stickiness)."
    if cascade.on_target_failure == "best_member":
        yield "If the target fails, the best member's answer stands in (on_target_failure)."


def joined(names: tuple[str, ...] | list[str]) -> str:
    """Return `a, b and c`."""
    *earlier_names, last = names
    return f"{', '.join(earlier_names)} and {last}" if earlier_names else last
