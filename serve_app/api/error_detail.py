"""What went wrong, before an API puts it into its own words."""

import math
from dataclasses import dataclass

from serve_app.core.types import Failure, FailureKind

FAILURE_STATUS: dict[FailureKind, int] = {
    "context_length": 400,
    "timeout": 504,
    "unavailable": 503,
    "error": 502,
    "cancelled": 503,
    "refused": 400,
    "rate_limited": 429,
    "invalid_output": 502,
}


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """An error with its HTTP status. `kind` and `code` are OpenAI's `type` and `code`; `param` names the field."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None


BUG = ErrorDetail(500, "The server failed in a way it should not; see its log.", "server_error")


def failure_detail(model: str, failure: Failure, prompt_field: str) -> ErrorDetail:
    """Return the error of a request whose last model failed. `prompt_field` is the field of its prompt."""
    status = FAILURE_STATUS[failure.kind]
    if failure.kind == "context_length":
        return ErrorDetail(status, failure.message, param=prompt_field, code="context_length_exceeded")
    if failure.kind == "refused":
        message = f"The model {model!r} cannot honour the request: {failure.message}"
        return ErrorDetail(status, message, param=failure.param, code="unsupported")
    kind = "rate_limit_error" if failure.kind == "rate_limited" else "server_error"
    return ErrorDetail(status, f"The model {model!r} failed: {failure.message}", kind, code=failure.kind)


def failure_headers(failure: Failure) -> dict[str, str]:
    """Return the headers that tell OpenAI's clients whether and when to try again; they try twice by default."""
    if failure.kind in ("timeout", "invalid_output"):
        # Each retry could take the whole time limit again, or end in the same answer.
        return {"x-should-retry": "false"}
    if failure.retry_after_s is not None:
        return {"retry-after": str(math.ceil(failure.retry_after_s))}
    return {}
