"""Every error as OpenAI's error body. No part of a stack trace reaches a client."""

import json
import logging
import math
import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from serve_app.api.encoding import Reply
from serve_app.api.schema import NEUTRAL
from serve_app.api.tools import NamedToolChoice
from serve_app.core.record_json import JsonObject
from serve_app.core.types import Failure, FailureKind
from serve_app.errors import QUOTED_CHARACTERS, CascadeError, RequestError, UnknownModelError, choices, quoted

logger = logging.getLogger(__name__)

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

BUG = "The server failed in a way it should not; see its log."


def error_body(message: str, *, kind: str, param: str | None = None, code: str | None = None) -> JsonObject:
    """Build OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def failure_body(model: str, failure: Failure, prompt_field: str) -> JsonObject:
    """Build the error object for a request whose last model failed. `prompt_field` is the field of its prompt."""
    if failure.kind == "context_length":
        code = "context_length_exceeded"
        return error_body(failure.message, kind="invalid_request_error", param=prompt_field, code=code)
    if failure.kind == "refused":
        message = f"The model {model!r} cannot honour the request: {failure.message}"
        return error_body(message, kind="invalid_request_error", param=failure.param, code="unsupported")
    kind = "rate_limit_error" if failure.kind == "rate_limited" else "server_error"
    return error_body(f"The model {model!r} failed: {failure.message}", kind=kind, code=failure.kind)


def failure_headers(failure: Failure) -> dict[str, str]:
    """Return the headers that tell OpenAI's clients whether and when to try again; they try twice by default."""
    if failure.kind in ("timeout", "invalid_output"):
        # Each retry could take the whole time limit again, or end in the same answer.
        return {"x-should-retry": "false"}
    if failure.retry_after_s is not None:
        return {"retry-after": str(math.ceil(failure.retry_after_s))}
    return {}


def install(app: FastAPI) -> None:
    """Make the app answer every error in this form."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(CascadeError, _failed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


async def _invalid(_: Request, error: Exception) -> Reply:
    assert isinstance(error, RequestValidationError)
    message, param = _describe(error.errors())
    return Reply(error_body(message, kind="invalid_request_error", param=param), 400)


def _describe(items: Sequence[Any]) -> tuple[str, str | None]:
    """Return a sentence about the first fault, and the field that it names."""
    # A union has an error for each of its members; the deepest belongs to the member that the client meant.
    field = _field(items[0])
    within = [item for item in items if _field(item)[: len(field)] == field] if field else items[:1]
    item = max(within, key=lambda item: len(_field(item)))
    param = _dotted(_field(item)) or None
    subject = param or "The request body"
    match item["type"]:
        case "missing":
            return (f"{param}: required, but missing." if param else "The request has no body."), param
        case "model_attributes_type" | "model_type" | "dict_type":
            hint = "" if param else ", sent with the content type application/json"
            return f"{subject}: must be a JSON object{hint}.", param
        case "extra_forbidden" if param in NEUTRAL:
            allowed = " or ".join(json.dumps(value) for value in NEUTRAL[param])
            return f"{param}: not supported, except {allowed}.", param
        case "extra_forbidden":
            return f"{param}: this field is not supported.", param
    messages = dict.fromkeys(_must(other["msg"]) for other in within if _field(other) == _field(item))
    message = " or ".join([next(iter(messages)), *(text.removeprefix("must be ") for text in list(messages)[1:])])
    if param is None and ": " in message:
        param, message = message.split(": ", 1)
    value = item.get("input")
    got = f", got {json.dumps(value)}" if _is_short(value) else ""
    return f"{param or subject}: {message}{got}.", param


def _field(item: Any) -> tuple[Any, ...]:
    """Return the field as the client wrote it, without `body` and pydantic's names of union members."""
    *path, last = item["loc"]
    is_field = item["type"] == "extra_forbidden" or not _is_tag(last)
    return (*(step for step in path[1:] if not _is_tag(step)), *((last,) if path and is_field else ()))


def _dotted(field: Sequence[Any]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step[:QUOTED_CHARACTERS]}" for step in field)
    return "".join(steps).lstrip(".")


def _is_short(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) < QUOTED_CHARACTERS and len(repr(value)) < QUOTED_CHARACTERS
    return isinstance(value, int | float) and len(repr(value)) < QUOTED_CHARACTERS


def _must(message: str) -> str:
    plain = re.split(", unable to parse| after validation", message.removeprefix("Value error, "))[0]
    return re.sub("^(Input|String|List|Dictionary) should", "must", plain).rstrip(".")


def _is_tag(step: Any) -> bool:
    tags = ("str", "float", NamedToolChoice.__name__)
    return isinstance(step, str) and (step in tags or step.startswith(("list[", "literal[", "function-after[")))


async def _refused(_: Request, error: Exception) -> Reply:
    assert isinstance(error, RequestError)
    status = 404 if isinstance(error, UnknownModelError) else 400
    body = error_body(error.message, kind="invalid_request_error", param=error.param, code=error.code)
    return Reply(body, status)


async def _failed(_: Request, error: Exception) -> Reply:
    return Reply(error_body(str(error), kind="server_error"), 503)


async def _http(request: Request, error: Exception) -> Reply:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        routes = [path for route in request.app.routes if (path := getattr(route, "path", None))]
        message = f"There is no {quoted(request.url.path)} here. {choices(request.url.path, routes)}"
    elif error.status_code == 405:
        message = f"{request.url.path} does not take {request.method}; use {(error.headers or {}).get('Allow')}."
    else:
        message = str(error.detail)
    body = error_body(message, kind="invalid_request_error" if error.status_code < 500 else "server_error")
    return Reply(body, error.status_code, headers=dict(error.headers or {}))


async def _bug(request: Request, error: Exception) -> Reply:
    logger.error("Unexpected error in %s %s", request.method, request.url.path, exc_info=error)
    return Reply(error_body(BUG, kind="server_error"), 500)
