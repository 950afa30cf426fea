"""Errors as JSON, in the shape of the API that the request came by."""

from starlette.datastructures import Headers
from starlette.types import Scope

from serve_app.api.encoding import Reply
from serve_app.api.errors.detail import ErrorDetail
from serve_app.api.messages import errors as messages
from serve_app.api.messages.dialect import speaks_anthropic
from serve_app.core.record_json import JsonObject


def error_json(detail: ErrorDetail) -> JsonObject:
    """Build OpenAI's error object."""
    return {
        "error": {"message": detail.message, "type": detail.kind, "param": detail.param, "code": detail.code},
    }


def error_body(detail: ErrorDetail, scope: Scope) -> JsonObject:
    """Build the error object of the API that the request of this ASGI scope came by."""
    return messages.error_json(detail, _request_id(scope)) if speaks_anthropic(scope) else error_json(detail)


def error_reply(detail: ErrorDetail, scope: Scope, headers: dict[str, str] | None = None, **beside: object) -> Reply:
    """Build the response to the request of this ASGI scope, with `beside` next to the error."""
    request_id = _request_id(scope) if speaks_anthropic(scope) else None
    id_header = {} if request_id is None else {"request-id": request_id}
    return Reply(error_body(detail, scope) | beside, detail.status, (headers or {}) | id_header)


def _request_id(scope: Scope) -> str | None:
    """Return Ray Serve's id of the request, or the client's own."""
    return Headers(scope=scope).get("x-request-id")
