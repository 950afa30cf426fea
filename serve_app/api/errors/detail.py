"""What went wrong, before an API writes it in its own form."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from serve_app.core.types.answer import Failure, FailureKind

FAILURE_STATUS: dict[FailureKind, int] = {
    "context_length": 400,
    "timeout": 504,
    "unavailable": 503,
    "error": 502,
    "cancelled": 503,
    "refused": 400,
    "rate_limited": 429,
    "unaffordable": 400,
    "invalid_output": 502,
}


UNAVAILABLE_RETRY_S = 5.0
"""Seconds until an unavailable model is tried again, if it is unknown when it will be back."""


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """An error with its HTTP status. `kind` and `code` are OpenAI's `type` and `code`; `param` names the field."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None


BUG = ErrorDetail(500, "The server failed in a way it should not; see its log.", "server_error")


def failure_detail(model: str, failure: Failure, field_names: Mapping[str, str]) -> ErrorDetail:
    """Return the error of a request whose last model failed. `field_names` are those of the format of its answer."""
    status = FAILURE_STATUS[failure.kind]
    if failure.kind == "context_length":
        field = field_names.get("messages", "messages")
        return ErrorDetail(status, failure.message, param=field, code="context_length_exceeded")
    if failure.kind == "refused":
        reason, param = renamed(failure.message, failure.param, field_names)
        message = f"The model {model!r} cannot honour the request: {reason}"
        return ErrorDetail(status, message, param=param, code="unsupported")
    if failure.kind == "unaffordable":
        return ErrorDetail(status, failure.message, param=failure.param, code="unaffordable")
    kind = "rate_limit_error" if failure.kind == "rate_limited" else "server_error"
    return ErrorDetail(status, f"The model {model!r} failed: {failure.message}", kind, code=failure.kind)


def renamed(message: str, param: str | None, field_names: Mapping[str, str]) -> tuple[str, str | None]:
    """Return an error's sentence and field with the names of the request's API.

    What is below a renamed field is left out of its name: its parts are others than those of OpenAI's chat.
    """
    name = field_names.get(re.split(r"[.\[]", param, maxsplit=1)[0]) if param else None
    if param is None or name is None:
        return message, param
    return message.replace(f"{param}: ", f"{name}: ", 1), name


def failure_headers(failure: Failure) -> dict[str, str]:
    """Return the headers that tell OpenAI's clients whether and when to try again; they try twice by default."""
    if failure.kind in ("timeout", "invalid_output"):
        # Each retry could take the whole time limit again, or end in the same answer.
        return {"x-should-retry": "false"}
    if failure.retry_after_s is not None:
        return retry_after(failure.retry_after_s)
    return retry_after(UNAVAILABLE_RETRY_S) if failure.kind == "unavailable" else {}


def retry_after(seconds: float) -> dict[str, str]:
    """Return HTTP's header for when to try again, in whole seconds."""
    return {"retry-after": str(math.ceil(seconds))}
