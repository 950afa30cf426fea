"""A request body on its way in: received within its limits, parsed and validated without holding up other requests."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from serve_app.api.fields.body import Body
from serve_app.api.intake.decompression import decompressed, requested_encoding
from serve_app.api.intake.limits import Limits, check_json
from serve_app.errors import QUOTED_CHARACTERS, RequestError

CLIENT_LEFT = 499
"""A status that only access logs show: the client has gone."""
CLOSE = {"connection": "close"}
"""The rest of the body is not read, so the connection cannot be used again."""

INLINE_BYTES = 64 * 1024
INLINE_VALUES = 1000
"""Bodies up to both take less time than a change of threads is worth."""
MAX_NUMBER_CHARACTERS = 100
"""Python reads long integers in quadratic time."""

# One thread: parsing holds the interpreter's lock, and several would take it from the event loop in turns.
_worker = ThreadPoolExecutor(1, thread_name_prefix="large-bodies")


class InvalidBodyError(RequestValidationError):
    """A body that its model refuses. `neutral` are the model's fields that are not honoured, with neutral values."""

    def __init__(self, errors: Sequence[Any], neutral: Mapping[str, Sequence[Any]]) -> None:
        super().__init__(errors)
        self.neutral = neutral


class CompletionRoute(APIRoute):
    """A route that receives and validates its own body, which FastAPI only documents; other routes are FastAPI's."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of a request."""
        if self.body_field is None:
            return super().get_route_handler()
        model, endpoint = self.body_field.field_info.annotation, self.endpoint
        assert isinstance(model, type)
        assert issubclass(model, Body)

        async def handle(request: Request) -> Response:
            limits: Limits = request.app.state.service.limits
            try:
                body = await _received(request, limits)
            except ClientDisconnect:
                return Response(status_code=CLIENT_LEFT)
            response: Response = await endpoint(await _validated(model, body, _is_json(request), limits), request)
            return response

        return handle


async def _received(request: Request, limits: Limits) -> bytes:
    """Return the whole body, decompressed. Raises `HTTPException` as soon as it is too large, or late."""
    encoding = requested_encoding(request.headers.getlist("content-encoding"))
    body = await _transferred(request, limits)
    if encoding is None or not body:
        return body
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_worker, decompressed, body, encoding, limits.max_body_bytes)


async def _transferred(request: Request, limits: Limits) -> bytes:
    _check_size(_declared_bytes(request), limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            async for chunk in request.stream():
                body += chunk
                _check_size(len(body), limits)
    except TimeoutError:
        message = f"The request body did not arrive within {limits.body_timeout_s:g} seconds."
        raise HTTPException(408, message, CLOSE) from None
    return bytes(body)


def _declared_bytes(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length[:20]) if length.isascii() and length.isdecimal() else 0


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.max_body_bytes:
        raise HTTPException(413, f"The request body is larger than {limits.max_body_bytes} bytes.", CLOSE)


def _is_json(request: Request) -> bool:
    message = Message()
    message["content-type"] = request.headers.get("content-type", "text/plain")
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


async def _validated(model: type[Body], body: bytes, is_json: bool, limits: Limits) -> Body:
    if not body:
        raise RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "", "input": None}])
    if not is_json:
        return _build(model, body, limits)
    if len(body) <= INLINE_BYTES and sum(map(body.count, b",[{")) <= INLINE_VALUES:
        return _parse(model, body, limits)
    return await asyncio.get_running_loop().run_in_executor(_worker, _parse, model, body, limits)


def _parse(model: type[Body], body: bytes, limits: Limits) -> Body:
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")
    except UnicodeDecodeError as error:
        raise RequestError(f"The request body is not valid UTF-8 at byte {error.start}.") from None
    check_json(text.encode("utf-8", "surrogatepass"), limits)
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_float)
    except json.JSONDecodeError as error:
        message = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise RequestError(f"The request body is not valid JSON: {message}.") from None
    return _build(model, value, limits)


def _build(model: type[Body], value: Any, limits: Limits) -> Body:
    try:
        return model.model_validate(value, context=limits)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        located = [fault | {"loc": ("body", *fault["loc"])} for fault in faults]
        raise InvalidBodyError(located, model.neutral) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = {name for name, _ in pairs}
        for name, _ in pairs:
            if name not in names:
                beginning = name[:QUOTED_CHARACTERS]
                raise RequestError(f"{beginning}: duplicate name in one JSON object.", beginning)
            names.remove(name)
    return fields


def _integer(digits: str) -> int:
    _check_number(digits)
    return int(digits)


def _float(digits: str) -> float:
    _check_number(digits)
    return float(digits)


def _check_number(digits: str) -> None:
    if len(digits) > MAX_NUMBER_CHARACTERS:
        raise RequestError(f"The request body has a number of more than {MAX_NUMBER_CHARACTERS} characters.")
