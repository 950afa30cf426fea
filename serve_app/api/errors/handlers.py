"""Every error as the error body of the API that it belongs to. No part of a stack trace reaches a client."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware

from serve_app.api.chat.tools import NamedToolChoice
from serve_app.api.encoding import Reply
from serve_app.api.errors.detail import BUG, UNAVAILABLE_RETRY_S, ErrorDetail, retry_after
from serve_app.api.errors.shape import error_reply
from serve_app.api.fields.variants import is_variant, wrong_field
from serve_app.api.head_requests import allowed_methods
from serve_app.api.intake.route import InvalidBodyError
from serve_app.errors import (
    QUOTED_CHARACTERS,
    CascadeError,
    OverloadedError,
    RequestError,
    UnknownModelError,
    choices,
    quoted,
)

logger = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Make the app answer every error in this form."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(OverloadedError, _overloaded)
    app.add_exception_handler(CascadeError, _failed)
    app.add_exception_handler(HTTPException, _http)
    # Inside of what is added later, such as CORS, whose headers this answer needs, too. It is logged and raised again.
    app.add_middleware(ServerErrorMiddleware, handler=_bug)


async def _invalid(request: Request, error: Exception) -> Reply:
    assert isinstance(error, RequestValidationError)
    neutral = error.neutral if isinstance(error, InvalidBodyError) else {}
    message, param = _describe(error.errors(), neutral)
    return error_reply(ErrorDetail(400, message, param=param), request.scope)


def _describe(items: Sequence[Any], neutral: Mapping[str, Sequence[Any]]) -> tuple[str, str | None]:
    """Return a sentence about the first fault, and the field that it names."""
    # A union has an error for each of its members; the deepest belongs to the member that the client meant.
    field = _field(items[0])
    within = [item for item in items if _field(item)[: len(field)] == field] if field else items[:1]
    deepest = max(map(_field, within), key=len)
    faults = _of_the_value([item for item in within if _field(item) == deepest])
    item = faults[0]
    param = _dotted(_field(item)) or None
    subject = param or "The request body"
    match item["type"]:
        case "missing":
            return (f"{param}: required, but missing." if param else "The request has no body."), param
        case "model_attributes_type" | "model_type" | "dict_type":
            hint = "" if param else ", sent with the content type application/json"
            return f"{subject}: must be a JSON object{hint}.", param
        case "extra_forbidden" if param is not None and param in neutral:
            allowed = " or ".join(json.dumps(value) for value in neutral[param])
            return f"{param}: not supported, except {allowed}.", param
        case "extra_forbidden":
            return f"{param}: this field is not supported.", param
    messages = dict.fromkeys(_must(fault["msg"]) for fault in faults)
    message = " or ".join([next(iter(messages)), *(text.removeprefix("must be ") for text in list(messages)[1:])])
    if param is None and ": " in message:
        param, message = message.split(": ", 1)
    value = _value(item)
    got = f", got {json.dumps(value)}" if _is_short(value) else ""
    return f"{param or subject}: {message}{got}.", param


def _of_the_value(faults: list[Any]) -> list[Any]:
    """Return the faults of one field without those of other types in its union, if its own type is among them."""
    own = [fault for fault in faults if fault["type"] != "literal_error" and not fault["type"].endswith("_type")]
    return own or faults


def _field(item: Any) -> tuple[Any, ...]:
    """Return the field as the client wrote it, without `body` and pydantic's names of union members."""
    *path, last = item["loc"]
    is_field = item["type"] == "extra_forbidden" or not _is_tag(last)
    wrong = wrong_field(item["type"])
    return (
        *(step for step in path[1:] if not _is_tag(step)),
        *((last,) if path and is_field else ()),
        *([wrong] if wrong else ()),
    )


def _value(item: Any) -> Any:
    """Return the value of the field, if the error has it."""
    value, wrong = item.get("input"), wrong_field(item["type"])
    return value[wrong] if wrong else value


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
    return isinstance(step, str) and (
        step in tags or is_variant(step) or step.startswith(("list[", "dict[", "literal[", "function-after["))
    )


async def _refused(request: Request, error: Exception) -> Reply:
    assert isinstance(error, RequestError)
    status = 404 if isinstance(error, UnknownModelError) else 400
    return error_reply(ErrorDetail(status, error.message, param=error.param, code=error.code), request.scope)


async def _overloaded(request: Request, error: Exception) -> Reply:
    assert isinstance(error, OverloadedError)
    detail = ErrorDetail(429, error.message, "rate_limit_error", code="overloaded")
    return error_reply(detail, request.scope, retry_after(error.retry_after_s))


async def _failed(request: Request, error: Exception) -> Reply:
    detail = ErrorDetail(503, str(error), "server_error")
    return error_reply(detail, request.scope, retry_after(UNAVAILABLE_RETRY_S))


async def _http(request: Request, error: Exception) -> Reply:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 404:
        routes = [path for route in request.app.routes if (path := getattr(route, "path", None))]
        message = f"There is no {quoted(request.url.path)} here. {choices(request.url.path, routes)}"
    elif error.status_code == 405:
        headers["Allow"] = allowed_methods(headers["Allow"])
        path, method = request.url.path[:QUOTED_CHARACTERS], request.method[:QUOTED_CHARACTERS]
        message = f"{path} does not take {method}; use {headers['Allow']}."
    else:
        message = str(error.detail)
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    return error_reply(ErrorDetail(error.status_code, message, kind), request.scope, headers)


async def _bug(request: Request, error: Exception) -> Reply:
    logger.error("Unexpected error in %s %s", request.method, request.url.path, exc_info=error)
    return error_reply(BUG, request.scope)
