"""The metric values of a finished request. Pure: a run and its record in, values out."""

from collections.abc import Iterator
from math import exp, isfinite

from serve_app.core.charges import Charges
from serve_app.core.cost import Cost
from serve_app.core.record import DecisionRecord
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Failure, Generation
from serve_app.core.types.outcome import Call, Outcome, TierResult
from serve_app.deployments.observing.metrics import (
    AGREEMENT,
    CALL_SECONDS,
    CALLS,
    DECISIONS,
    DEVICE_SECONDS,
    FIRST_TOKEN_SECONDS,
    FLOPS,
    PRECHECKS,
    REQUEST_SECONDS,
    REQUESTS,
    SHED,
    TARGET_DEVICE_SECONDS,
    TARGET_FLOPS,
    TARGET_USD,
    TOKENS,
    USD,
    Measure,
)

SCORING = "Scorer"
"""The label of scoring, in place of a model's name; no model may have this name."""


def request_measures(
    cascade: str, run: Run, outcome: Outcome | None, record: DecisionRecord, charges: Charges
) -> Iterator[Measure]:
    """Yield all that one request adds to the router's metrics; no value is negative.

    `outcome` is None if the request was cancelled. `charges` are the run's.
    """
    yield REQUESTS, 1, (cascade, _ended(outcome), record.answered_by or "")
    if (precheck := run.precheck) is not None:
        yield PRECHECKS, 1, (cascade, "failed" if precheck.failed else precheck.verdict or "neither")
    if run.shed is not None:
        yield SHED, 1, (cascade, run.shed.by)
    for number, result in enumerate(run.results):
        yield from _tier(cascade, str(number), result)
    for call, cost in zip(run.calls, charges.calls, strict=True):
        role = "target" if call.model == run.target else "member"
        yield from _call(cascade, call, role, outcome)
        yield from _spent(cascade, call.model, cost)
    yield from _spent(cascade, SCORING, charges.scoring)
    if outcome is not None:
        for phase, seconds in _phases(run, outcome):
            yield REQUEST_SECONDS, seconds, (cascade, phase)
    yield from _target_only(cascade, record)


def _target_only(cascade: str, record: DecisionRecord) -> Iterator[Measure]:
    cost, alone = record.cost, record.cost.target_only
    if alone is None:
        return
    # If a sum is unknown, the same sum for the target alone would show a saving that is unknown, too.
    for metric, total, by_target in (
        (TARGET_FLOPS, cost.flops, alone.flops),
        (TARGET_USD, cost.usd, alone.usd),
        (TARGET_DEVICE_SECONDS, cost.device_s, alone.device_s),
    ):
        if by_target and total is not None:
            yield metric, by_target, (cascade,)


def _ended(outcome: Outcome | None) -> str:
    if outcome is None:
        return "cancelled"
    if isinstance(outcome.answer, Failure):
        return "failed"
    return "deferred" if outcome.deferred else "accepted"


def _tier(cascade: str, number: str, result: TierResult) -> Iterator[Measure]:
    if result.judged is None:  # the target, or a tier that a model refused: nothing to decide
        return
    decision, tier = result.decision, result.tier
    yield DECISIONS, 1, (cascade, number, str(decision.accepted).lower(), decision.reason)
    if decision.agreement is not None and isfinite(decision.agreement):
        agreement = exp(min(decision.agreement, 100.0)) if tier.token_level else max(decision.agreement, 0.0)
        yield AGREEMENT, agreement, (cascade, number, tier.signal or "")


def _call(cascade: str, call: Call, role: str, outcome: Outcome | None) -> Iterator[Measure]:
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


def _spent(cascade: str, name: str, cost: Cost) -> Iterator[Measure]:
    for metric, amount in ((FLOPS, cost.flops), (USD, cost.usd), (DEVICE_SECONDS, cost.device_s)):
        if amount:
            yield metric, amount, (cascade, name)


def _use(call: Call, outcome: Outcome | None) -> str:
    if call.wasted:
        return "wasted"
    if isinstance(call.answer, Failure):
        return "cancelled" if call.answer.kind == "cancelled" else "failed"
    returned = outcome is not None and any(answer is call.answer for answer in outcome.returned)
    return "returned" if returned else "unused"


def _phases(run: Run, outcome: Outcome) -> Iterator[tuple[str, float]]:
    deciding = [result for result in run.results if result.judged is not None or result.decision.reason == "refused"]
    if deciding:
        yield "members", sum(result.elapsed_s - result.scoring_s for result in deciding)
        yield "scoring", sum(result.scoring_s for result in deciding)
    if run.results and run.results[-1].decision.reason == "last_tier":
        yield "target", run.results[-1].elapsed_s
    yield "whole", outcome.total_s
    if run.stream and isinstance(outcome.answer, Generation):
        yield "first_text", outcome.total_s if run.first_text_s is None else run.first_text_s
