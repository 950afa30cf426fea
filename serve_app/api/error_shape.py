"""Errors as JSON, in the shape of the API that the path belongs to."""

from serve_app.api.encoding import Reply
from serve_app.api.error_detail import ErrorDetail
from serve_app.core.record_json import JsonObject


def error_json(detail: ErrorDetail) -> JsonObject:
    """Build OpenAI's error object."""
    return {
        "error": {"message": detail.message, "type": detail.kind, "param": detail.param, "code": detail.code},
    }


def error_reply(detail: ErrorDetail, path: str, headers: dict[str, str] | None = None, **beside: object) -> Reply:
    """Build the response to a request of `path`, with `beside` next to the error."""
    return Reply(error_json(detail) | beside, detail.status, headers)
