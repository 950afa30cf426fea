"""What a request that has ended says to the metrics. Pure: a run and its record in, values out."""

from collections.abc import Iterator, Mapping
from math import exp, isfinite

from serve_app.core.cascade import Run
from serve_app.core.cost import ModelCost, price
from serve_app.core.record import Record
from serve_app.core.types import Call, Failure, Generation, Outcome, TierResult
from serve_app.deployments.observing.metrics import (
    AGREEMENT,
    CALL_SECONDS,
    CALLS,
    DECISIONS,
    DEVICE_SECONDS,
    FIRST_TOKEN_SECONDS,
    FLOPS,
    REQUEST_SECONDS,
    REQUESTS,
    TARGET_DEVICE_SECONDS,
    TARGET_FLOPS,
    TARGET_USD,
    TOKENS,
    USD,
    Measure,
)

SCORING = "Scorer"
"""In place of a model's name; no model may have it."""
TARGET_ONLY = {"flops": TARGET_FLOPS, "usd": TARGET_USD, "device_s": TARGET_DEVICE_SECONDS}


def request_measures(
    cascade: str, run: Run, outcome: Outcome | None, record: Record, costs: Mapping[str, ModelCost]
) -> Iterator[Measure]:
    """All that one request adds to the router's metrics; `outcome` is None if it was cancelled. Nothing is negative."""
    yield REQUESTS, 1, (cascade, _ended(outcome), record["answered_by"] or "")
    for number, result in enumerate(run.results):
        yield from _tier(cascade, str(number), result)
    for call in run.calls:
        role = "target" if call.model in run.tiers[-1].models else "member"
        yield from _call(cascade, call, role, outcome, costs[call.model])
    if outcome is not None:
        for phase, seconds in _phases(run, outcome):
            yield REQUEST_SECONDS, seconds, (cascade, phase)
    # Where a sum is not known, the same sum for the target alone would show a saving that nobody can know.
    alone = record["cost"].get("target_only", {})
    for unit, metric in TARGET_ONLY.items():
        if alone.get(unit) and record["cost"][unit] is not None:
            yield metric, alone[unit], (cascade,)


def _ended(outcome: Outcome | None) -> str:
    if outcome is None:
        return "cancelled"
    if isinstance(outcome.answer, Failure):
        return "failed"
    return "deferred" if outcome.deferred else "accepted"


def _tier(cascade: str, number: str, result: TierResult) -> Iterator[Measure]:
    if result.judged is None:  # the target: nothing to decide
        return
    decision, tier = result.decision, result.tier
    yield DECISIONS, 1, (cascade, number, str(decision.accepted).lower(), decision.reason)
    if decision.agreement is not None and isfinite(decision.agreement):
        shown = exp(min(decision.agreement, 100.0)) if tier.token_level else max(decision.agreement, 0.0)
        yield AGREEMENT, shown, (cascade, number, tier.signal or "")
    if result.scores:
        for metric, spent in ((FLOPS, result.scores.flops), (DEVICE_SECONDS, result.scores.device_s)):
            if spent:
                yield metric, spent, (cascade, SCORING)


def _call(cascade: str, call: Call, role: str, outcome: Outcome | None, cost: ModelCost) -> Iterator[Measure]:
    model, answer = call.model, call.answer
    yield CALLS, 1, (cascade, model, role, answer.kind if isinstance(answer, Failure) else "ok")
    if isinstance(answer, Generation):
        yield CALL_SECONDS, answer.latency_s, (model,)
        if answer.first_token_s is not None:
            yield FIRST_TOKEN_SECONDS, answer.first_token_s, (model,)
    use = _use(call, outcome)
    for kind, tokens in (("prompt", answer.prompt_tokens), ("completion", answer.completion_tokens)):
        if tokens:
            yield TOKENS, tokens, (cascade, model, kind, use)
    paid = price(cost, answer.prompt_tokens, answer.completion_tokens, answer.latency_s)
    for metric, spent in ((FLOPS, paid.flops), (USD, paid.usd), (DEVICE_SECONDS, paid.device_s)):
        if spent:
            yield metric, spent, (cascade, model)


def _use(call: Call, outcome: Outcome | None) -> str:
    if isinstance(call.answer, Failure):
        return "cancelled" if call.answer.kind == "cancelled" else "failed"
    return "returned" if outcome is not None and outcome.answer is call.answer else "unused"


def _phases(run: Run, outcome: Outcome) -> Iterator[tuple[str, float]]:
    *_, last = outcome.tiers
    asked = [result for result in outcome.tiers if result.judged is not None]
    if asked:
        yield "members", sum(result.elapsed_s - result.scoring_s for result in asked)
        yield "scoring", sum(result.scoring_s for result in asked)
    if last.judged is None:
        yield "target", last.elapsed_s
    yield "whole", outcome.total_s
    if run.stream and isinstance(outcome.answer, Generation):
        yield "first_text", outcome.total_s if run.first_text_s is None else run.first_text_s
