"""Errors as JSON, in the shape of the API that the request came by."""

from starlette.datastructures import Headers
from starlette.types import Scope

from serve_app.api.encoding import Reply
from serve_app.api.error_detail import ErrorDetail
from serve_app.api.messages import errors as messages
from serve_app.api.messages.dialect import speaks_anthropic
from serve_app.core.record_json import JsonObject


def error_json(detail: ErrorDetail) -> JsonObject:
    """Build OpenAI's error object."""
    return {
        "error": {"message": detail.message, "type": detail.kind, "param": detail.param, "code": detail.code},
    }


def error_reply(detail: ErrorDetail, scope: Scope, headers: dict[str, str] | None = None, **beside: object) -> Reply:
    """Build the response to the request of this ASGI scope, with `beside` next to the error."""
    if not speaks_anthropic(scope):
        return Reply(error_json(detail) | beside, detail.status, headers)
    request_id = Headers(scope=scope).get("x-request-id")  # Ray Serve's, or the client's own
    shown = {} if request_id is None else {"request-id": request_id}
    return Reply(messages.error_json(detail, request_id) | beside, detail.status, (headers or {}) | shown)
