"""The decision record as JSON, and back. The format is the one that clients, logs and dashboards read."""

from collections.abc import Mapping
from typing import TypeAlias

from serve_app.core.charges import RequestCost
from serve_app.core.cost import Cost, EstimatedCost
from serve_app.core.record import (
    AnswerRecord,
    CallRecord,
    DecisionRecord,
    FunctionCall,
    Policy,
    Replacement,
    TierDecision,
    TierRecord,
    Timings,
)
from serve_app.core.types.outcome import Cached, Precheck, Shed

JsonObject: TypeAlias = dict[str, object]


def to_json(record: DecisionRecord) -> JsonObject:
    """Return the record as values that `json.dumps` takes; optional fields are left out if they are empty."""
    body: JsonObject = {
        "id": record.id,
        "deferred": record.deferred,
        "answered_by": record.answered_by,
        "reason": record.reason,
        "tiers": [tier_json(tier) for tier in record.tiers],
        "models": {model: call_json(call) for model, call in record.models.items()},
        "cost": _request_cost_json(record.cost),
        "timings_s": {
            "tiers": list(record.timings.tiers),
            "scoring": record.timings.scoring,
            "total": record.timings.total,
        },
    }
    if record.calibration is not None:
        body["calibration"] = record.calibration
    if (replaced := record.replaced) is not None:
        body["replaced"] = {"model": replaced.model, "kind": replaced.kind, "message": replaced.message}
    if (cached := record.cached) is not None:
        body["cached"] = {"age_s": cached.age_s} | ({"shared": True} if cached.shared else {})
    if record.caller is not None:
        body["caller"] = record.caller
    if (skipped := record.skipped) is not None:
        body["skipped"] = _skipped_json(skipped)
    if (shed := record.shed) is not None:
        source = {} if shed.calibration is None else {"calibration": shed.calibration}
        body["shed"] = {"by": shed.by, "pressure": shed.pressure, **source}
    return body


def _skipped_json(skipped: Precheck) -> JsonObject:
    member: JsonObject = {} if skipped.member is None else {"member": skipped.member}
    return {
        "verdict": skipped.verdict,
        "neighbours": skipped.neighbours,
        "deferred_share": skipped.share,
        **member,
    }


def tier_json(tier: TierRecord) -> JsonObject:
    """Return one tier of a record."""
    body: JsonObject = {"models": list(tier.models)}
    if tier.decision is not None:
        body |= _decision_json(tier.decision)
    if tier.truncated_pairs:
        body["truncated_pairs"] = tier.truncated_pairs
    if tier.scorer_error:
        body["scorer_error"] = tier.scorer_error
    if tier.carried:
        body["carried"] = list(tier.carried)
    if tier.answers is not None:
        body["answers"] = [None if answer is None else answer.text for answer in tier.answers]
        if any(answer is not None and answer.tool_calls for answer in tier.answers):
            body["tool_calls"] = [_tool_calls_json(answer) for answer in tier.answers]
        if any(answer is not None and answer.reasoning for answer in tier.answers):
            body["reasoning"] = [None if answer is None else answer.reasoning for answer in tier.answers]
        if any(answer is not None and answer.compared is not None for answer in tier.answers):
            body["compared"] = [None if answer is None else answer.compared for answer in tier.answers]
    return body


def _decision_json(decision: TierDecision) -> JsonObject:
    matrix, policy = decision.similarities, decision.policy
    return {
        "signal": decision.signal,
        **({} if decision.instead_of is None else {"instead_of": decision.instead_of}),
        **({} if policy is None else {"policy": _policy_json(policy)}),
        "similarities": None if matrix is None else [list(row) for row in matrix],
        "output_scores": list(decision.output_scores),
        "agreement": decision.agreement,
        **({} if decision.agreement_bounds is None else {"agreement_bounds": list(decision.agreement_bounds)}),
        "threshold": decision.threshold,
        "accepted": decision.accepted,
        "reason": decision.reason,
        "selected": decision.selected,
    }


def _policy_json(policy: Policy) -> JsonObject:
    return {
        "agreement": policy.agreement,
        "direction": policy.direction,
        "select": policy.select,
        "min_answers": policy.min_answers,
        "truncated": policy.truncated,
    }


def _tool_calls_json(answer: AnswerRecord | None) -> list[JsonObject] | None:
    if answer is None:
        return None
    return [{"name": call.name, "arguments": call.arguments} for call in answer.tool_calls]


def call_json(call: CallRecord) -> JsonObject:
    """Return one call of a record."""
    counts: JsonObject = {
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "latency_s": call.latency_s,
        **({"estimated": True} if call.estimated else {}),
        **({} if call.calls == 1 else {"calls": call.calls}),
    }
    if call.status == "ok":
        return {"status": "ok", "finish_reason": call.finish_reason, **counts, "first_token_s": call.first_token_s}
    return {"status": call.status, "message": call.message, **counts}


def _request_cost_json(cost: RequestCost) -> JsonObject:
    body = cost_json(cost)
    if cost.estimated:
        body["estimated"] = True
    if cost.target_only is not None:
        body["target_only"] = cost_json(cost.target_only) | {"estimated": cost.target_only.estimated}
    if cost.wasted is not None:
        body["wasted"] = cost_json(cost.wasted)
    return body


def cost_json(cost: Cost) -> JsonObject:
    """Return a cost in its three units."""
    return {"flops": cost.flops, "usd": cost.usd, "device_s": cost.device_s}


def from_json(value: object) -> DecisionRecord:
    """Read a record that a server sent. A field that is absent, or of another type, gets its neutral value.

    So records of older and newer servers can be read; this never raises.
    """
    body = _object(value)
    times, replaced, cached = _object(body.get("timings_s")), body.get("replaced"), body.get("cached")
    skipped, shed = body.get("skipped"), body.get("shed")
    deferred = body.get("deferred")
    return DecisionRecord(
        id=_text(body.get("id")) or "",
        deferred=deferred if isinstance(deferred, bool) else None,
        answered_by=_text(body.get("answered_by")),
        reason=_text(body.get("reason")) or "",
        tiers=tuple(map(_read_tier, _list(body.get("tiers")))),
        models={model: _read_call(call) for model, call in _object(body.get("models")).items()},
        cost=_read_cost(_object(body.get("cost"))),
        timings=Timings(
            tuple(_number(seconds) or 0.0 for seconds in _list(times.get("tiers"))),
            _number(times.get("scoring")) or 0.0,
            _number(times.get("total")),
        ),
        calibration=_text(body.get("calibration")),
        replaced=_read_replacement(replaced) if isinstance(replaced, dict) else None,
        cached=_read_cached(cached) if isinstance(cached, dict) else None,
        caller=_text(body.get("caller")),
        skipped=_read_skipped(skipped) if isinstance(skipped, dict) else None,
        shed=_read_shed(shed) if isinstance(shed, dict) else None,
    )


def _read_shed(body: Mapping[str, object]) -> Shed | None:
    match body.get("by"):
        case "thresholds" | "members" as by:
            return Shed(by, _number(body.get("pressure")) or 0.0, _text(body.get("calibration")))
    return None


def _read_skipped(body: Mapping[str, object]) -> Precheck | None:
    share, member = _number(body.get("deferred_share")), _text(body.get("member"))
    match body.get("verdict"):
        case "deferred" | "accepted" as verdict:
            return Precheck(verdict, _count(body.get("neighbours")), share, member)
    return None


def _read_cached(body: Mapping[str, object]) -> Cached:
    return Cached(_number(body.get("age_s")) or 0.0, body.get("shared") is True)


def _read_replacement(body: Mapping[str, object]) -> Replacement:
    model, kind, message = (_text(body.get(name)) or "" for name in ("model", "kind", "message"))
    return Replacement(model, kind, message)


def _read_tier(value: object) -> TierRecord:
    body = _object(value)
    return TierRecord(
        _texts(body.get("models")),
        _read_decision(body) if "reason" in body else None,
        _count(body.get("truncated_pairs")),
        _text(body.get("scorer_error")),
        _texts(body.get("carried")),
        _read_answers(body) if "answers" in body else None,
    )


def _read_decision(body: Mapping[str, object]) -> TierDecision:
    matrix, policy = body.get("similarities"), body.get("policy")
    return TierDecision(
        signal=_text(body.get("signal")),
        policy=_read_policy(policy) if isinstance(policy, dict) else None,
        similarities=tuple(map(_numbers, matrix)) if isinstance(matrix, list) else None,
        output_scores=_numbers(body.get("output_scores")),
        agreement=_number(body.get("agreement")),
        threshold=_number(body.get("threshold")),
        accepted=body.get("accepted") is True,
        reason=_text(body.get("reason")) or "",
        selected=_text(body.get("selected")),
        agreement_bounds=_read_bounds(body.get("agreement_bounds")),
        instead_of=_text(body.get("instead_of")),
    )


def _read_bounds(value: object) -> tuple[float | None, float | None] | None:
    bounds = _numbers(value)
    return (bounds[0], bounds[1]) if len(bounds) == 2 else None


def _read_policy(body: Mapping[str, object]) -> Policy:
    agreement, direction, truncated = (_text(body.get(name)) or "" for name in ("agreement", "direction", "truncated"))
    return Policy(agreement, direction, _text(body.get("select")), _count(body.get("min_answers")), truncated)


def _read_answers(body: Mapping[str, object]) -> tuple[AnswerRecord | None, ...]:
    texts = [_text(text) for text in _list(body.get("answers"))]
    calls = [_read_tool_calls(value) for value in _list(body.get("tool_calls"))]
    thoughts = [_text(text) or "" for text in _list(body.get("reasoning"))]
    calls += [()] * (len(texts) - len(calls))
    thoughts += [""] * (len(texts) - len(thoughts))
    compared = [_text(text) for text in _list(body.get("compared"))]
    compared += [None] * (len(texts) - len(compared))
    return tuple(
        AnswerRecord(text or "", called, thought, compared_text) if text is not None or called else None
        for text, called, thought, compared_text in zip(texts, calls, thoughts, compared, strict=False)
    )


def _read_tool_calls(value: object) -> tuple[FunctionCall, ...]:
    calls = map(_object, _list(value))
    return tuple(FunctionCall(_text(call.get("name")) or "", _text(call.get("arguments")) or "") for call in calls)


def _read_call(value: object) -> CallRecord:
    body = _object(value)
    return CallRecord(
        _text(body.get("status")) or "ok",
        _count(body.get("prompt_tokens")),
        _count(body.get("completion_tokens")),
        _number(body.get("latency_s")) or 0.0,
        body.get("estimated") is True,
        _text(body.get("finish_reason")),
        _number(body.get("first_token_s")),
        _text(body.get("message")),
        _count(body.get("calls")) or 1,
    )


def _read_cost(body: Mapping[str, object]) -> RequestCost:
    units = _read_units(body)
    alone = body.get("target_only")
    target_only = (
        EstimatedCost(*_read_units(alone), alone.get("estimated") is True) if isinstance(alone, dict) else None
    )
    wasted = body.get("wasted")
    return RequestCost(
        *units,
        body.get("estimated") is True,
        target_only,
        Cost(*_read_units(wasted)) if isinstance(wasted, dict) else None,
    )


def _read_units(body: Mapping[str, object]) -> tuple[float | None, float | None, float | None]:
    return _number(body.get("flops")), _number(body.get("usd")), _number(body.get("device_s"))


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(text for text in _list(value) if isinstance(text, str))


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _numbers(value: object) -> tuple[float | None, ...]:
    return tuple(map(_number, _list(value)))


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
