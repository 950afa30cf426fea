"""Bodies that are too large, too slow or made to be expensive: refused, and never at the cost of other requests."""

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, get_args, get_origin
from urllib.parse import urlsplit

import httpx
import pytest
from annotated_types import MaxLen
from pydantic.fields import FieldInfo

from serve_app.api.chat.schema import ChatCompletion, TextCompletion
from serve_app.api.embeddings.schema import EmbeddingRequest
from serve_app.api.fields.body import Body
from serve_app.api.messages.schema import MessageRequest
from tests.api.serving import FakeService
from tests.patience import PATIENCE_S

CHAT = "/v1/chat/completions"
JSON_TYPE = {"content-type": "application/json"}
HEAD = b'{"model": "default", "messages": [{"role": "user", "content": "x"}]'
MB = 1_000_000
MAX_PAUSE_S = 0.25
"""Of the process's own time, so that a busy machine fails nothing. Without the limits it is seconds to minutes."""


def with_field(name: str, value: bytes) -> bytes:
    return HEAD + f', "{name}": '.encode() + value + b"}"


def tool(schema: bytes) -> bytes:
    return with_field("tools", b'[{"type": "function", "function": {"name": "f", "parameters": ' + schema + b"}}]")


def items(item: bytes, count: int) -> bytes:
    return b"[" + b",".join([item] * count) + b"]"


def names(value: bytes, count: int) -> bytes:
    return b"{" + b",".join(b'"%d": %s' % (number, value) for number in range(count)) + b"}"


STOP = "stop: must be at most 4 strings, none of them empty."
VALUES = "The request body has more than 100000 JSON values."
NUMBER = "The request body has a number of more than 100 characters."
SCHEMA = "tools[0].function.parameters: "
HOSTILE = {
    "stop": (with_field("stop", items(b"0", 90_000)), STOP),
    "stop of 2 MB": (with_field("stop", items(b"0", MB)), VALUES),
    "objects": (with_field("stop", items(b"{}", MB)), VALUES),
    "strings": (with_field("stop", items(b'""', MB)), VALUES),
    "unknown fields": (HEAD + b", " + names(b"0", 90_000)[1:], "0: this field is not supported."),
    "unknown fields of a message": (
        HEAD[:-2] + b", " + names(b"0", 90_000)[1:] + b"]}",
        "messages[0].0: this field is not supported.",
    ),
    "a long name": (HEAD + b', "' + b"n" * 3 * MB + b'": 0}', "n" * 80 + ": this field is not supported."),
    "wrong messages": (
        b'{"model": "default", "messages": ' + items(b"0", 2048) + b"}",
        "messages[0]: must be a JSON object.",
    ),
    "messages": (
        b'{"model": "default", "messages": ' + items(b"0", 2049) + b"}",
        "messages: must have at most 2048 items, got 2049.",
    ),
    "parts": (
        b'{"model": "default", "messages": [{"role": "user", "content": ' + items(b"0", 90_000) + b"}]}",
        "messages[0].content[0]: must be a JSON object.",
    ),
    "metadata": (with_field("metadata", names(b"0", 50_000)), "metadata.0: must be a valid string, got 0."),
    "more metadata": (
        with_field("metadata", names(b'""', 17)),
        "metadata: must have at most 16 items.",
    ),
    "thresholds": (with_field("cascade", b'{"threshold": ' + items(b'"x"', 90_000) + b"}"), "cascade.threshold[0]: "),
    "tools": (with_field("tools", items(b"{}", 40_000)), "tools[0].type: required, but missing."),
    "a schema's values": (tool(b'{"enum": ' + items(b"0", 50_000) + b"}"), SCHEMA + "must have at most 2000 values"),
    "a schema's names": (tool(b'{"required": ' + items(b'"a"', 9000) + b"}"), SCHEMA + "must have at most 2000 values"),
    "a pattern": (tool(b'{"pattern": "' + b"a{0,1}" * 600_000 + b'"}'), SCHEMA + "must have at most 1024 characters"),
    "patterns": (
        tool(b'{"patternProperties": ' + names(b"{}", 900) + b"}"),
        SCHEMA + "must have at most 1024 characters in all patterns.",
    ),
    "nested": (with_field("stop", b"[" * 3 * MB), VALUES),
    "nested a little": (
        with_field("stop", b"[" * 200 + b"]" * 200),
        "The request body is nested deeper than 128 levels.",
    ),
    "nested in objects": (with_field("stop", b'{"a":' * 200 + b"0" + b"}" * 200), "The request body is nested deeper"),
    "an integer": (with_field("seed", b"1" * 3 * MB), NUMBER),
    "integers": (with_field("stop", items(b"1" * 4000, 900)), NUMBER),
    "a fraction": (with_field("top_p", b"0." + b"1" * 3 * MB), NUMBER),
    "spaces": (HEAD + b" " * 3 * MB, "The request body is not valid JSON: Expecting ',' delimiter at line 1, column "),
    "quotes": (with_field("stop", b'"' + b'\\"' * MB), "The request body is not valid JSON: Unterminated string"),
    "no UTF-8": (HEAD + b"\xff" * 3 * MB, "The request body is not valid UTF-8 at byte 67."),
    "a model": (
        HEAD.replace(b"default", b"m" * 3 * MB) + b"}",
        f"There is no model '{'m' * 79}…'. Available: a, b, default, t.",
    ),
    "a call": (
        b'{"model": "default", "messages": [{"role": "tool", "content": "x", "tool_call_id": "' + b"c" * MB + b'"}]}',
        f"messages[0].tool_call_id: no assistant's message before has a call '{'c' * 79}…'.",
    ),
    "a role": (HEAD.replace(b"user", b"r" * 3 * MB) + b"}", "messages[0].role: must be 'system', 'developer', "),
}


async def longest_pause(pauses: list[float]) -> None:
    while True:
        begun = time.process_time()
        await asyncio.sleep(0.002)
        pauses.append(time.process_time() - begun)


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_body_is_refused_and_stops_nobody(http: httpx.AsyncClient, service: FakeService, name: str):
    body, sentence = HOSTILE[name]
    pauses: list[float] = []
    gc.freeze()  # what other tests have imported takes the collector 0.25 s; a router has much less
    watching = asyncio.create_task(longest_pause(pauses))
    try:
        await asyncio.sleep(0.01)
        response = await http.post(CHAT, content=body, headers=JSON_TYPE)
        await asyncio.sleep(0.01)
    finally:
        watching.cancel()
        gc.unfreeze()
    assert response.status_code == (404 if name == "a model" else 400)
    assert response.json()["error"]["message"].startswith(sentence)
    assert len(response.content) < 1000
    assert not service.runs
    assert max(pauses) < MAX_PAUSE_S


@pytest.mark.parametrize(
    "body",
    [
        HEAD.replace(b'"x"', b'"' + b"word, [and] {more}, " * 190_000 + b'"') + b"}",
        HEAD.replace(b'"x"', b'"' + b'\\"\\\\, ' * 500_000 + b'"') + b"}",
        tool(json.dumps({"type": "object", "properties": {str(n): {"type": "string"} for n in range(250)}}).encode()),
        b'{"model": "default", "messages": ' + items(b'{"role": "user", "content": "x"}', 2048) + b"}",
    ],
    ids=["a long text", "escapes", "many properties", "many messages"],
)
async def test_a_large_body_within_the_limits_is_answered(http: httpx.AsyncClient, service: FakeService, body: bytes):
    response = await http.post(CHAT, content=body, headers=JSON_TYPE)
    assert response.status_code == 200, response.text
    text = json.loads(body)["messages"][-1]["content"]
    assert service.models["a"].prompts[0].messages[-1].content == text


def _containers(annotation: Any, metadata: list[Any]) -> list[list[Any]]:
    """Return the constraints of every list and dict in an annotation."""
    if hasattr(annotation, "__metadata__"):
        constraints = [
            constraint
            for item in annotation.__metadata__
            for constraint in (item.metadata if isinstance(item, FieldInfo) else [item])
        ]
        return _containers(annotation.__origin__, constraints)
    own = [metadata] if get_origin(annotation) in (list, dict) else []
    return own + [container for inner in get_args(annotation) for container in _containers(inner, [])]


def _models(model: type[Body]) -> set[type[Body]]:
    nested: set[type[Body]] = {model}
    for field in model.model_fields.values():
        waiting = [field.annotation]
        while waiting:
            annotation = waiting.pop()
            waiting += get_args(annotation)
            if isinstance(annotation, type) and issubclass(annotation, Body):
                nested |= _models(annotation)
    return nested


def test_every_list_and_dict_of_a_request_is_bounded():
    unbounded = [
        f"{model.__name__}.{name}"
        for body in (ChatCompletion, TextCompletion, MessageRequest, EmbeddingRequest)
        for model in _models(body)
        for name, field in model.model_fields.items()
        for constraints in _containers(field.annotation, field.metadata)
        if not any(isinstance(constraint, MaxLen) for constraint in constraints)
    ]
    # Bounded by `router.max_messages`, and the arguments of a call by `router.max_json_values`.
    assert sorted(unbounded) == ["ChatCompletion.messages", "MessageRequest.messages", "ToolUseBlock.input"]


TOO_LARGE = {
    "message": "The request body is larger than 1000 bytes.",
    "type": "invalid_request_error",
    "param": None,
    "code": None,
}


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 100


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_a_413(http: httpx.AsyncClient, service: FakeService, declared: bool):
    service.limits = replace(service.limits, max_body_bytes=1000)
    response = await http.post(CHAT, content=b" " * 1001 if declared else chunks(11), headers=JSON_TYPE)
    assert (response.status_code, response.headers["connection"]) == (413, "close")
    assert response.json()["error"] == TOO_LARGE


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_of_exactly_the_limit_is_read(http: httpx.AsyncClient, service: FakeService, declared: bool):
    service.limits = replace(service.limits, max_body_bytes=1000)
    response = await http.post(CHAT, content=b" " * 1000 if declared else chunks(10), headers=JSON_TYPE)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("The request body is not valid JSON: Expecting value")


async def exchange(url: str, request: bytes) -> bytes:
    """Send bytes and return everything up to the server's closing of the connection."""
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    try:
        writer.write(request)
        async with asyncio.timeout(PATIENCE_S):
            return await reader.read()
    finally:
        writer.close()


REQUEST = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
UNFINISHED = {
    "declared": REQUEST + b"Content-Length: 1000\r\n\r\n{",
    "empty": REQUEST + b"Content-Length: 1000\r\n\r\n",
    "chunked": REQUEST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
}


@pytest.mark.parametrize("name", UNFINISHED)
async def test_a_body_that_never_finishes_is_a_408_and_the_connection_is_closed(
    url: str, service: FakeService, name: str
):
    service.limits = replace(service.limits, body_timeout_s=0.2)
    head, _, body = (await exchange(url, UNFINISHED[name])).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"] == {
        "message": "The request body did not arrive within 0.2 seconds.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    assert not service.runs


async def test_bodies_that_never_finish_keep_nobody_waiting_and_leave_by_themselves(url: str, service: FakeService):
    service.limits = replace(service.limits, body_timeout_s=2)
    unfinished = [asyncio.create_task(exchange(url, UNFINISHED["declared"])) for _ in range(12)]
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        assert (await http.post(CHAT, content=HEAD + b"}", headers=JSON_TYPE)).status_code == 200
        answers = await asyncio.gather(*unfinished)
        assert {answer[:13] for answer in answers} == {b"HTTP/1.1 408 "}
        assert (await http.post(CHAT, content=HEAD + b"}", headers=JSON_TYPE)).status_code == 200


async def test_a_body_that_comes_in_drops_is_late_too(url: str, service: FakeService):
    service.limits = replace(service.limits, body_timeout_s=0.3)
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(UNFINISHED["declared"])
    reading = asyncio.create_task(reader.readline())
    async with asyncio.timeout(PATIENCE_S):
        while not reading.done():
            writer.write(b" ")
            await asyncio.sleep(0.02)
    assert reading.result().startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_body_over_the_limit_ends_the_connection(url: str, service: FakeService):
    service.limits = replace(service.limits, max_body_bytes=1000)
    declared = await exchange(url, REQUEST + b"Content-Length: 1001\r\n\r\n")
    chunked = await exchange(url, REQUEST + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b" " * 1001 + b"\r\n")
    for answer in (declared, chunked):
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        assert json.loads(body)["error"] == TOO_LARGE


async def test_a_client_that_leaves_before_its_body_is_complete_is_forgotten(url: str, service: FakeService):
    target = urlsplit(url)
    _, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(UNFINISHED["declared"])
    await writer.drain()
    writer.close()
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        assert (await http.get("/healthz")).status_code == 200
    assert not service.runs


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (HEAD + b', "model": "t"}', "model"),
        (HEAD + b', "cascade": {"force": "accept", "force": "defer"}}', "force"),
        (tool(b'{"properties": {"a": {}, "b": {}, "a": {}}}'), "a"),
    ],
)
async def test_a_name_that_is_there_twice_is_refused(http: httpx.AsyncClient, body: bytes, name: str):
    response = await http.post(CHAT, content=body, headers=JSON_TYPE)
    assert (response.status_code, response.json()["error"]["param"]) == (400, name)
    assert response.json()["error"]["message"] == f"{name}: duplicate name in one JSON object."


async def test_long_paths_and_model_ids_are_cut(http: httpx.AsyncClient):
    model = await http.get(f"/v1/models/{'m' * 10_000}")
    path = await http.get(f"/{'p' * 10_000}")
    assert (model.status_code, path.status_code) == (404, 404)
    assert model.json()["error"]["message"].startswith(f"There is no model '{'m' * 79}…'. Available: ")
    assert path.json()["error"]["message"].startswith(f"There is no '/{'p' * 78}…' here. Available: ")
