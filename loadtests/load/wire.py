"""One request over HTTP, in OpenAI's dialect, timed.

`session` is locust's fast session (geventhttpclient): its `readline` returns as soon as a line's bytes have come, where
readers of blocks wait for a full one. So the time to the first token is what a client sees.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gevent
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from geventhttpclient.useragent import RetriesExceeded

from serve_app.common.client_key import key_headers
from serve_app.core.text.characters import whole

from .log import Result
from .mix import Ask

PATH = "/v1/chat/completions"
BROKEN = (OSError, HTTPConnectionClosed, HTTPParseError)


class FailedError(Exception):
    """A request that failed; the text is the kind of failure, which locust counts by."""


@dataclass(frozen=True, slots=True)
class _Decision:
    """What the load tests need of a decision record. Read here, since a load generator has no server installed."""

    deferred: bool | None = None
    answered_by: str | None = None
    completion_tokens: int = 0
    flops: float | None = None
    usd: float | None = None
    target_flops: float | None = None
    target_usd: float | None = None


@dataclass(slots=True)
class _Reading:
    """What a response has brought so far; times are `time.perf_counter()`."""

    decision: _Decision = field(default_factory=_Decision)
    first: float | None = None
    last: float | None = None


def send(session: Any, ask: Ask, timeout_s: float, late_s: float | None = None) -> Result:
    """Send one request and wait for all of its answer, `timeout_s` at most. Reports it to locust, too."""
    body = {
        "model": ask.model,
        "messages": [{"role": "user", "content": ask.prompt}],
        "max_tokens": ask.max_tokens,
        "stream": ask.stream,
    }
    name = f"{ask.model} {'stream' if ask.stream else 'plain'}"
    headers = {"Accept-Encoding": "identity"} | key_headers()
    sent, start = time.time(), time.perf_counter()
    reading, failure = _Reading(), None
    with session.post(PATH, name=name, json=body, headers=headers, stream=True, catch_response=True) as response:
        try:
            with gevent.Timeout(max(0.0, timeout_s - (time.perf_counter() - start)), FailedError("timeout")):
                _read(response, ask.stream, reading)
        except FailedError as error:
            failure = str(error)
        except BROKEN as error:
            failure = _broken(error)
        latency_s = time.perf_counter() - start
        response.request_meta["response_time"] = latency_s * 1000
        if failure is None:
            response.success()
        else:
            response.failure(FailedError(failure))
    return _result(ask, sent, start, latency_s, failure, reading, late_s)


def _read(response: Any, stream: bool, reading: _Reading) -> None:
    if response.status_code == 0:
        raise FailedError(_broken(response.error))
    if response.status_code != 200:
        raise FailedError(_refusal(response.status_code, response.content))
    if not stream:
        reading.decision = _decision(_json(response.stream.read()).get("cascade"))
        return
    for event in _events(response.stream):
        if "error" in event:
            raise FailedError(_kind("stream", event["error"]))
        if "cascade" in event:
            reading.decision = _decision(event["cascade"])
        if any(_says(choice) for choice in event.get("choices", [])):
            reading.last = time.perf_counter()
            reading.first = reading.first or reading.last


def _decision(value: Any) -> _Decision:
    """Read the decision record of a response; what is absent stays None. A single model decides nothing."""
    body = value if isinstance(value, dict) else {}
    cost = body.get("cost") or {}
    alone = cost.get("target_only") or {}
    tiers = body.get("tiers") or [{}]
    answered_by = body.get("answered_by")
    return _Decision(
        deferred=body.get("deferred") if "signal" in tiers[0] else None,
        answered_by=answered_by,
        completion_tokens=body.get("models", {}).get(answered_by, {}).get("completion_tokens", 0),
        flops=cost.get("flops"),
        usd=cost.get("usd"),
        target_flops=alone.get("flops"),
        target_usd=alone.get("usd"),
    )


def _events(stream: Any) -> Iterator[dict[str, Any]]:
    """Yield the JSON of each event as it arrives, up to the end mark. Comment lines and field names are skipped."""
    while line := stream.readline(b"\n"):
        text = bytes(line).strip()
        if text == b"data: [DONE]":
            stream.read()  # the end of the body: the connection can be used again
            return
        if text.startswith(b"data:"):
            yield _json(text[5:])
    raise FailedError("stream ended early")


def _says(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta") or {}
    return bool(delta.get("content") or delta.get("tool_calls"))


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(bytes(data))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise FailedError("not JSON")
    return value


def _refusal(status: int, body: bytes | None) -> str:
    try:
        return _kind(f"HTTP {status}", _json(body or b"").get("error"))
    except FailedError:
        return f"HTTP {status}"


def _kind(label: str, error: Any) -> str:
    """Return `HTTP 404 model_not_found`: the code or type of OpenAI's error body, whose message may quote texts."""
    words = error if isinstance(error, dict) else {}
    code = words.get("code") or words.get("type")
    return f"{label} {whole(str(code))}" if code else label


def _broken(error: Exception | None) -> str:
    if isinstance(error, RetriesExceeded):  # how the session wraps what happened before a response came
        error = error.original
    match error:
        case TimeoutError():
            return "timeout"
        case ConnectionRefusedError():
            return "connection refused"
    return "connection broken"


def _result(
    ask: Ask, sent: float, start: float, latency_s: float, failure: str | None, reading: _Reading, late_s: float | None
) -> Result:
    decision = reading.decision
    tokens = decision.completion_tokens
    spread_s = reading.last - reading.first if reading.first and reading.last else None
    return Result(
        time=sent,
        model=ask.model,
        stream=ask.stream,
        latency_s=latency_s,
        failure=failure,
        first_token_s=reading.first - start if reading.first else None,
        token_s=spread_s / (tokens - 1) if spread_s is not None and tokens > 1 and failure is None else None,
        deferred=decision.deferred,
        answered_by=decision.answered_by,
        flops=decision.flops,
        usd=decision.usd,
        target_flops=decision.target_flops,
        target_usd=decision.target_usd,
        late_s=late_s,
    )
