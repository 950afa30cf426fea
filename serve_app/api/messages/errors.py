"""Errors as Anthropic's error object."""

from serve_app.api.errors.detail import ErrorDetail
from serve_app.core.record_json import JsonObject

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
TOO_LONG = "prompt is too long: "
"""The beginning of the message by which clients of this API notice that they must shorten the conversation."""


def type_of(status: int) -> str:
    """Return the type of an error with this HTTP status."""
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def error_json(detail: ErrorDetail, request_id: str | None = None) -> JsonObject:
    """Build the error object; `request_id` is the server's id of the request, if it has one."""
    prefix = TOO_LONG if detail.code == "context_length_exceeded" else ""
    error = {"type": type_of(detail.status), "message": prefix + detail.message}
    return {"type": "error", "error": error, "request_id": request_id}
