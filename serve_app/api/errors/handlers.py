"""Every error as the error body of the API that it belongs to. No part of a stack trace reaches a client."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware

from serve_app.api.encoding import Reply
from serve_app.api.errors.detail import BUG, UNAVAILABLE_RETRY_S, ErrorDetail, retry_after
from serve_app.api.errors.shape import error_reply
from serve_app.api.errors.validation import described
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
    message, param = described(error.errors(), neutral)
    return error_reply(ErrorDetail(400, message, param=param), request.scope)


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
        message = f"There is no {quoted(request.url.path)} here. {choices(request.url.path, _api_paths(request.app))}"
    elif error.status_code == 405:
        headers["Allow"] = allowed_methods(headers["Allow"])
        path, method = request.url.path[:QUOTED_CHARACTERS], request.method[:QUOTED_CHARACTERS]
        message = f"{path} does not take {method}; use {headers['Allow']}."
    else:
        message = str(error.detail)
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    return error_reply(ErrorDetail(error.status_code, message, kind), request.scope, headers)


def _api_paths(app: FastAPI) -> set[str]:
    """Return the paths for clients: those that are documented, which leaves out the page's, and the documentation."""
    documented = {route.path for route in app.routes if isinstance(route, APIRoute) and route.include_in_schema}
    return documented | {path for path in (app.docs_url, app.openapi_url) if path}


async def _bug(request: Request, error: Exception) -> Reply:
    logger.error("Unexpected error in %s %s", request.method, request.url.path, exc_info=error)
    return error_reply(BUG, request.scope)
