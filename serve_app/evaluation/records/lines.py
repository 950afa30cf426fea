"""The lines of a records file: examples and answers as JSON, and back with every field checked."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isnan, nan
from typing import Any, get_args

from serve_app.core.types.answer import Answer, Failure, FailureKind, FinishReason, Generation
from serve_app.core.types.prompt import ToolCall
from serve_app.evaluation.records.answers import Logprobs
from serve_app.evaluation.records.example import Example
from serve_app.evaluation.records.fields import field, word


@dataclass(frozen=True, slots=True)
class AnswerLine:
    """One answer's line. `logprobs` are those of `answer`, which itself has none; None if the line has none.

    `scores` are qualities, by name, that the answer was given; the latency of `answer` is NaN if nobody measured it.
    """

    example: str
    model: str
    answer: Generation | Failure
    logprobs: Logprobs | None = None
    scores: Mapping[str, float] | None = None


def example_body(example: Example) -> dict[str, Any]:
    """Return an example's line as a JSON object."""
    return {"kind": "example", **example.body()}


def answer_body(example: str, model: str, answer: Answer, scores: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Return an answer's line as a JSON object.

    Log-probabilities, tool calls, reasoning and scores are left out if it has none. A latency of NaN is null.
    """
    body: dict[str, Any] = {"kind": "answer", "example": example, "model": model}
    counts: dict[str, Any] = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
    if answer.estimated:
        counts["estimated"] = True
    counts["latency_s"] = None if isnan(answer.latency_s) else answer.latency_s
    score_fields = {"scores": dict(scores)} if scores else {}
    if isinstance(answer, Failure):
        return body | {"failure": answer.kind, "message": answer.message, **counts, **score_fields}
    body |= {"text": answer.text, "finish_reason": answer.finish_reason, **counts}
    body["first_token_s"] = answer.first_token_s
    if answer.logprobs is not None:
        body["logprobs"] = [[item.token, item.logprob] for item in answer.logprobs]
    if answer.tool_calls:
        body["tool_calls"] = [asdict(call) for call in answer.tool_calls]
    if answer.reasoning or answer.reasoning_tokens:
        body |= {"reasoning": answer.reasoning, "reasoning_tokens": answer.reasoning_tokens}
    return body | score_fields


def read_line(body: Mapping[str, Any]) -> AnswerLine:
    """Return the answer that a line holds. Raises ValueError, which names the field, if it is invalid."""
    pairs = body.get("logprobs")
    return AnswerLine(
        field(body, "example", str),
        field(body, "model", str),
        _failure(body) if "failure" in body else _generation(body),
        None if pairs is None or "failure" in body else Logprobs(pairs),
        _scores(body) if "scores" in body else None,
    )


def _generation(body: Mapping[str, Any]) -> Generation:
    return Generation(
        prompt_tokens=field(body, "prompt_tokens", int),
        completion_tokens=field(body, "completion_tokens", int),
        latency_s=_latency(body),
        estimated="estimated" in body and field(body, "estimated", bool),
        text=field(body, "text", str),
        finish_reason=word(body, "finish_reason", get_args(FinishReason)),
        first_token_s=None if body.get("first_token_s") is None else field(body, "first_token_s", float),
        tool_calls=tuple(map(_tool_call, field(body, "tool_calls", list))) if "tool_calls" in body else (),
        reasoning=field(body, "reasoning", str) if "reasoning" in body else "",
        reasoning_tokens=field(body, "reasoning_tokens", int) if "reasoning_tokens" in body else 0,
    )


def _failure(body: Mapping[str, Any]) -> Failure:
    return Failure(
        prompt_tokens=field(body, "prompt_tokens", int),
        completion_tokens=field(body, "completion_tokens", int),
        latency_s=_latency(body),
        estimated="estimated" in body and field(body, "estimated", bool),
        kind=word(body, "failure", get_args(FailureKind)),
        message=field(body, "message", str),
    )


def _latency(body: Mapping[str, Any]) -> float:
    if "latency_s" in body and body["latency_s"] is None:
        return nan
    return field(body, "latency_s", float)


def _scores(body: Mapping[str, Any]) -> dict[str, float]:
    scores = field(body, "scores", dict)
    for name in scores:
        if not 0 <= field(scores, name, float, "scores.") <= 1:
            raise ValueError(f"scores.{name}: must be from 0 to 1, not {scores[name]!r}")
    return scores


def _tool_call(body: Any) -> ToolCall:
    names = [item.name for item in fields(ToolCall)]
    if not isinstance(body, dict):
        raise ValueError(f"tool_calls: must be objects with {', '.join(names)}, not {body!r}")
    return ToolCall(*(field(body, name, str, "tool_calls.") for name in names))


def read_example(body: Mapping[str, Any]) -> Example:
    """Return the example that a line holds. Raises ValueError, which names the field, if it is invalid."""
    return Example.read({name: value for name, value in body.items() if name != "kind"})


def encode_line(body: Mapping[str, Any]) -> bytes:
    """Return a line in UTF-8, or in ASCII if a text holds a lone surrogate, which UTF-8 cannot encode."""
    try:
        return json.dumps(body, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(body).encode() + b"\n"
