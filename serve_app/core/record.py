"""The decision record: everything that led to an answer, as plain values for JSON (design: one object everywhere)."""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, TypeAlias

from serve_app.core.cascade import Run
from serve_app.core.cost import Cost, ModelCost, Speed, charge, target_only
from serve_app.core.types import Answer, Call, Generation, Outcome, TierResult

Record: TypeAlias = dict[str, Any]


def decision_record(
    cascade: str,
    run: Run,
    outcome: Outcome | None,
    costs: Mapping[str, ModelCost],
    *,
    answers: bool = False,
    calibration: str | None = None,
) -> Record:
    """The record of a finished request, or of one that was cancelled (`outcome` None). Times in seconds.

    `answers` adds the models' texts and, where there are any, their tool calls. `calibration` names the one that the
    thresholds come from. Numbers that JSON cannot say (NaN, infinities) are None.
    """
    target = run.tiers[-1].models[0]
    scored = [result.scores for result in run.results if result.scores]
    record: Record = {
        "id": cascade,
        "deferred": outcome.deferred if outcome else None,
        "answered_by": outcome.answered_by if outcome and isinstance(outcome.answer, Generation) else None,
        "reason": outcome.reason if outcome else "cancelled",
        "tiers": [_tier(result, answers) for result in run.results],
        "models": {call.model: _model(call.answer) for call in run.calls},
        "cost": _units(charge(run.calls, scored, costs)),
        "timings_s": {
            "tiers": [result.elapsed_s for result in run.results],
            "scoring": sum(result.scoring_s for result in run.results),
            "total": outcome.total_s if outcome else None,
        },
    }
    if calibration is not None:
        record["calibration"] = calibration
    if any(call.answer.estimated for call in run.calls):
        record["cost"]["estimated"] = True
    if outcome and isinstance(outcome.answer, Generation):
        alone, estimated = target_only(outcome, target, costs[target], run.speeds.get(target) or Speed())
        record["cost"]["target_only"] = _units(alone) | {"estimated": estimated}
    if outcome and outcome.replaced:
        record["replaced"] = {"model": target, "kind": outcome.replaced.kind, "message": outcome.replaced.message}
    return record


def usage(calls: Iterable[Call]) -> dict[str, int]:
    """Tokens over all models that were asked, in OpenAI's words."""
    answers = [call.answer for call in calls]
    prompt = sum(answer.prompt_tokens for answer in answers)
    completion = sum(answer.completion_tokens for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _tier(result: TierResult, answers: bool) -> Record:
    tier, decision = result.tier, result.decision
    record: Record = {"models": list(tier.models)}
    if result.judged is not None:
        record |= {
            "signal": tier.signal,
            "policy": {
                "agreement": tier.agreement,
                "direction": tier.direction,
                "select": tier.select,
                "min_answers": tier.min_answers,
                "truncated": tier.truncated,
            },
            "similarities": _matrix(result),
            "output_scores": [_number(score) for score in result.judged.output_scores],
            "agreement": _number(decision.agreement),
            "threshold": decision.threshold,
            "accepted": decision.accepted,
            "reason": decision.reason,
            "selected": None if decision.selected is None else tier.models[decision.selected],
        }
    if result.scores and result.scores.truncated_pairs:
        record["truncated_pairs"] = result.scores.truncated_pairs
    if result.scorer_error:
        record["scorer_error"] = result.scorer_error
    if answers:
        record["answers"] = [_text(call.answer) for call in result.calls]
        if any(_tool_calls(call.answer) for call in result.calls):
            record["tool_calls"] = [_tool_calls(call.answer) for call in result.calls]
    return record


def _matrix(result: TierResult) -> list[list[float | None]] | None:
    """The similarities in the order of the tier's models, None where an answer did not survive."""
    if result.scores is None or result.judged is None:
        return None
    n = len(result.tier.models)
    matrix: list[list[float | None]] = [[None] * n for _ in range(n)]
    for row, i in enumerate(result.judged.survivors):
        for column, j in enumerate(result.judged.survivors):
            matrix[i][j] = _number(result.scores.similarities[row][column])
    return matrix


def _text(answer: Answer) -> str | None:
    return answer.text if isinstance(answer, Generation) else None


def _tool_calls(answer: Answer) -> list[Record] | None:
    if not isinstance(answer, Generation):
        return None
    return [{"name": call.name, "arguments": call.arguments} for call in answer.tool_calls]


def _model(answer: Answer) -> Record:
    counts = {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "latency_s": answer.latency_s,
    }
    if answer.estimated:
        counts["estimated"] = True
    if isinstance(answer, Generation):
        return {"status": "ok", "finish_reason": answer.finish_reason, **counts, "first_token_s": answer.first_token_s}
    return {"status": answer.kind, "message": answer.message, **counts}


def _units(cost: Cost) -> Record:
    return {"flops": cost.flops, "usd": cost.usd, "device_s": cost.device_s}


def _number(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
