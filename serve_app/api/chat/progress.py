"""The progress of a run as JSON: what a stream interleaves for clients that ask for `cascade.events`."""

from collections.abc import Mapping

from serve_app.core.cost import ModelCost, call_cost
from serve_app.core.record import call_record, tier_record
from serve_app.core.record_json import JsonObject, call_json, cost_json, tier_json
from serve_app.core.running.progress import CallDelta, CallEnded, CallStarted, TierStarted, Watched
from serve_app.core.types.answer import Answer, Generation
from serve_app.core.types.outcome import TierResult
from serve_app.engines.wire.message import tool_calls_json


def progress_json(event: Watched, costs: Mapping[str, ModelCost], *, answers: bool) -> JsonObject:
    """Return one event; `answers`: whether the end of a tier repeats the answers, with what was compared of each."""
    match event:
        case TierStarted(number, tier):
            deciding = {} if tier.signal is None else {"signal": tier.signal, "threshold": tier.threshold}
            return {"type": "tier_started", "tier": number, "models": list(tier.models), **deciding}
        case CallStarted(model):
            return {"type": "call_started", "model": model}
        case CallDelta(model, delta):
            return {
                "type": "call_delta",
                "model": model,
                **({"text": delta.text} if delta.text else {}),
                **({"reasoning": delta.reasoning} if delta.reasoning else {}),
            }
        case CallEnded(model, answer):
            return {"type": "call_ended", "model": model, **_ended(answer, costs.get(model))}
        case TierResult():
            times = {"elapsed_s": event.elapsed_s, "scoring_s": event.scoring_s}
            return {"type": "tier_ended", **tier_json(tier_record(event, answers)), **times}


def _ended(answer: Answer, cost: ModelCost | None) -> JsonObject:
    body = call_json(call_record(answer))
    if isinstance(answer, Generation) and answer.tool_calls:
        body["tool_calls"] = tool_calls_json(answer.tool_calls)
    if cost is not None:
        body["cost"] = cost_json(call_cost(cost, answer))
    return body
