"""Requests that once went wrong, and their neighbours, by their right value: the quickstart's members answer them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import pytest_asyncio

from serve_app.api.routes import build_api
from serve_app.core.types.policy import Tier
from serve_app.engines import LlamaCppConfig, load_engine
from serve_app.weights import fetch
from tests.engines.conftest import SMOLLM2, SMOLLM2_SHA256
from tests.engines.llama_cpp.test_tools import QWEN, QWEN_SHA256
from tests.patience import PATIENCE_S

from .engine_model import EngineModel
from .serving import FakeService

pytestmark = [pytest.mark.models, pytest.mark.asyncio(loop_scope="session")]

CHAT = "/v1/chat/completions"
MEMBERS = {"qwen-0.5b": (QWEN, QWEN_SHA256), "smollm2-135m": (SMOLLM2, SMOLLM2_SHA256)}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quickstart() -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the API over the quickstart's members; the faster one is also the target."""
    service: Any = FakeService()
    engines = {
        name: await load_engine(LlamaCppConfig(engine="llama_cpp", weights=source, slots=2), fetch(source, sha256))
        for name, (source, sha256) in MEMBERS.items()
    }
    service.models = {name: EngineModel(engine) for name, engine in engines.items()}
    service.cascade = (Tier(tuple(MEMBERS), signal="exact", threshold=0.8), Tier(("smollm2-135m",)))
    transport = httpx.ASGITransport(build_api(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cascade", timeout=PATIENCE_S) as http:
        yield http
    for engine in engines.values():
        await engine.close()


def request(model: str, *messages: Any, **fields: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": item} if isinstance(item, str) else item for item in messages]
    return {"model": model, "messages": turns, "max_tokens": 24, "temperature": 0} | fields


async def answered(http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    response = await http.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    choice: dict[str, Any] = response.json()["choices"][0]
    return choice


async def refused(http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """Return the error of a 400, which names a field and does not end a stream."""
    response = await http.post(CHAT, json=body)
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    return error


CALL = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
EMPTY_CALL = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": ""}}
NOON = {"role": "tool", "tool_call_id": "c1", "content": "12:00"}
HI = "Say hi."
HISTORIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cache-control-part": (
        request(
            "smollm2-135m",
            {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]},
        ),
        request("smollm2-135m", "hi"),
    ),
    "history-empty-arguments": (
        request(
            "default", "What time is it?", {"role": "assistant", "content": None, "tool_calls": [EMPTY_CALL]}, NOON
        ),
        request("default", "What time is it?", {"role": "assistant", "content": None, "tool_calls": [CALL]}, NOON),
    ),
    "name-on-tool-message": (
        request(
            "smollm2-135m",
            "What time is it?",
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            NOON | {"name": "now"},
        ),
        request("smollm2-135m", "What time is it?", {"role": "assistant", "content": None, "tool_calls": [CALL]}, NOON),
    ),
    "parsed-echo": (
        request(
            "smollm2-135m",
            HI,
            {"role": "assistant", "content": '{"name":"Bob"}', "refusal": None, "parsed": {"name": "Bob"}},
            HI,
        ),
        request("smollm2-135m", HI, {"role": "assistant", "content": '{"name":"Bob"}'}, HI),
    ),
    "prompt-cache-key": (request("smollm2-135m", HI, prompt_cache_key="session-1"), request("smollm2-135m", HI)),
    "reasoning-content-history": (
        request(
            "smollm2-135m",
            HI,
            {"role": "assistant", "content": "hi", "reasoning_content": "The user greets."},
            HI,
        ),
        request("smollm2-135m", HI, {"role": "assistant", "content": "hi"}, HI),
    ),
    "top-p-zero": (request("smollm2-135m", HI, top_p=0), request("smollm2-135m", HI, top_p=1)),
    "top-p-zero at any temperature": (
        request("smollm2-135m", HI, top_p=0, temperature=2, seed=5),
        request("smollm2-135m", HI),
    ),
    "top-p-zero as a float": (request("qwen-0.5b", HI, top_p=-0.0, temperature=1), request("qwen-0.5b", HI)),
    "top-p of almost nothing": (request("qwen-0.5b", HI, top_p=1e-300, temperature=1), request("qwen-0.5b", HI)),
}


@pytest.mark.parametrize("name", HISTORIES)
async def test_what_cannot_change_the_answer_does_not(quickstart: httpx.AsyncClient, name: str) -> None:
    body, plain = HISTORIES[name]
    choice = await answered(quickstart, body)
    assert choice["message"]["content"]
    assert choice == await answered(quickstart, plain)


@pytest.mark.parametrize("top_p", [-1e-9, 1.0000001, "0", True])
async def test_other_values_of_top_p_are_refused(quickstart: httpx.AsyncClient, top_p: Any) -> None:
    assert (await refused(quickstart, request("smollm2-135m", HI, top_p=top_p)))["param"] == "top_p"


def filled(schema: Any, strict: bool = True) -> dict[str, Any]:
    """Return a response format of one field, `a`."""
    whole = {"type": "object", "properties": {"a": schema}, "required": ["a"], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "x", "strict": strict, "schema": whole}}


def function(schema: Any, **fields: Any) -> dict[str, Any]:
    """Return a tool of one parameter, `a`."""
    parameters = {"type": "object", "properties": {"a": schema}} | fields
    return {"type": "function", "function": {"name": "f", "description": "Run f.", "parameters": parameters}}


NUMBER = "Fill the field a with the number 1."
WORDS = "Fill the field a with the words hello world."
KEPT: dict[str, tuple[str, Any]] = {
    "schema-keywords-dropped": (NUMBER, {"type": "number", "minimum": 100, "multipleOf": 0.5}),
    "schema-pattern-dropped": (WORDS, {"type": "string", "pattern": "^\\d{5}$"}),
    "exclusive bounds": (NUMBER, {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 2}),
    "a negative bound": (NUMBER, {"type": "number", "maximum": -5}),
    "a multiple": (NUMBER, {"type": "integer", "multipleOf": 7, "minimum": 2, "maximum": 99}),
    "a pattern of words": (WORDS, {"type": "string", "pattern": "^\\w+-\\w+$"}),
    "a pattern of spaces": (WORDS, {"type": "string", "pattern": "^[a-z]{2}\\s[a-z]{2}$"}),
    "a pattern without anchors": (WORDS, {"type": "string", "pattern": "[0-9]{3}", "maxLength": 6}),
    "a pattern and a length": (WORDS, {"type": "string", "pattern": "^[a-z]+$", "maxLength": 4}),
    "a length": (WORDS, {"type": "string", "minLength": 2, "maxLength": 4}),
    "a date": (WORDS, {"type": "string", "format": "date"}),
    "an address": (WORDS, {"type": "string", "format": "ipv4"}),
    "all of plain types": (WORDS, {"allOf": [{"type": "string"}, {"maxLength": 3}]}),
    "a constant": (WORDS, {"const": 5}),
    "a tuple": (WORDS, {"type": "array", "prefixItems": [{"type": "integer"}], "items": False, "minItems": 1}),
}


def follows(text: str, response_format: dict[str, Any]) -> None:
    jsonschema_rs.validate(response_format["json_schema"]["schema"], json.loads(text))


@pytest.mark.parametrize("name", KEPT)
async def test_a_constraint_is_kept(quickstart: httpx.AsyncClient, name: str) -> None:
    question, schema = KEPT[name]
    choice = await answered(quickstart, request("smollm2-135m", question, response_format=filled(schema)))
    if choice["finish_reason"] == "length":
        assert choice["message"]["content"].lstrip().startswith("{")
    else:
        follows(choice["message"]["content"], filled(schema))


@pytest.mark.parametrize("model", ["qwen-0.5b", "default"])
@pytest.mark.parametrize("name", ["schema-pattern-dropped", "a constant"])
async def test_a_finished_answer_keeps_it(quickstart: httpx.AsyncClient, model: str, name: str) -> None:
    question, schema = KEPT[name]
    choice = await answered(quickstart, request(model, question, response_format=filled(schema), max_tokens=200))
    assert choice["finish_reason"] == "stop"
    follows(choice["message"]["content"], filled(schema))


UNKEPT: dict[str, tuple[Any, str]] = {
    "not": ({"not": {"type": "string"}}, "not"),
    "if": ({"type": "integer", "if": {"minimum": 5}, "then": {"maximum": 9}}, "if"),
    "unique items": ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, "uniqueItems"),
    "look-ahead": ({"type": "string", "pattern": "^(?=a)[a-z]+$"}, "look-ahead"),
    "contains": ({"type": "array", "contains": {"type": "integer"}}, "contains"),
    "dependent fields": ({"type": "object", "dependentRequired": {"x": ["y"]}}, "dependentRequired"),
    "an unknown format": ({"type": "string", "format": "iban"}, "iban"),
}


@pytest.mark.parametrize("name", UNKEPT)
async def test_what_cannot_be_kept_is_refused_by_name(quickstart: httpx.AsyncClient, name: str) -> None:
    schema, word = UNKEPT[name]
    for model, stream in (("smollm2-135m", False), ("default", True)):
        body = request(model, WORDS, response_format=filled(schema), stream=stream)
        error = await refused(quickstart, body)
        assert (error["param"] or "").startswith("response_format")
        assert word in error["message"]


@pytest.mark.parametrize("schema", [True, {}, {"type": "array", "items": False}, {"anyOf": [True, False]}])
async def test_schemas_that_are_true_or_false(quickstart: httpx.AsyncClient, schema: Any) -> None:
    """schema-boolean and its neighbours: as a tool that may be called, one that must, and a response format."""
    for model, choice in (("default", "auto"), ("smollm2-135m", "required")):
        body = request(model, "Call f.", tools=[function(schema)], tool_choice=choice, max_tokens=8)
        answer = await answered(quickstart, body)
        assert answer["finish_reason"] in ("stop", "length", "tool_calls")
    bound = request("smollm2-135m", WORDS, response_format=filled(schema))
    assert (await answered(quickstart, bound))["message"]["content"].lstrip().startswith("{")


IMPOSSIBLE: dict[str, Any] = {
    "schema-dangling-ref": {"$ref": "#/$defs/Nope"},
    "a reference to nowhere in draft 7": {"$ref": "#/definitions/Nope"},
    "a reference into a property": {"$ref": "#/properties/b/items"},
    "a reference to itself": {"$ref": "#/properties/a"},
    "a reference to another host": {"$ref": "https://example.com/schema.json"},
    "no types": {"type": []},
    "no alternatives": {"anyOf": []},
    "an unknown type": {"type": "strnig"},
    "bounds that cross": {"type": "string", "minLength": 3, "maxLength": 2},
    "no schema": 5,
}


@pytest.mark.parametrize("model", ["qwen-0.5b", "default"])
@pytest.mark.parametrize("name", IMPOSSIBLE)
async def test_a_schema_that_no_value_can_satisfy_is_the_requests_fault(
    quickstart: httpx.AsyncClient, model: str, name: str
) -> None:
    schema = IMPOSSIBLE[name]
    for fields in (
        {"tools": [function(schema)]},
        {"tools": [function(schema, required=["a"])], "tool_choice": "required"},
        {"response_format": filled(schema)},
        {"response_format": filled(schema, strict=False), "stream": True},
    ):
        error = await refused(quickstart, request(model, "Call f.", **fields))
        assert (error["param"] or "").startswith(("tools", "response_format"))


@pytest.mark.parametrize("model", ["smollm2-135m", "default"])
@pytest.mark.parametrize("schema", [{"enum": []}, False, {"allOf": [{"const": 1}, {"const": 2}]}])
async def test_a_required_field_that_nothing_fits_is_the_requests_fault(
    quickstart: httpx.AsyncClient, model: str, schema: Any
) -> None:
    """schema-empty-enum and its neighbours, where the answer has to have the field."""
    required = {"tools": [function(schema, required=["a"])], "tool_choice": "required"}
    for fields in ({"response_format": filled(schema)}, required):
        error = await refused(quickstart, request(model, "x", **fields))
        assert (error["param"] or "").startswith(("tools", "response_format"))


LONG = "word " * 2500
OVERFLOWS: dict[str, dict[str, Any]] = {
    "stream-context-overflow": request("smollm2-135m", LONG, stream=True),
    "plain": request("smollm2-135m", LONG),
    "by the cascade": request("default", LONG * 16, stream=True),
    "in a system message": request("smollm2-135m", {"role": "system", "content": LONG}, HI, stream=True),
    "in a tool's message": request(
        "smollm2-135m", HI, {"role": "assistant", "tool_calls": [CALL]}, NOON | {"content": LONG}, stream=True
    ),
    "with a schema": request("smollm2-135m", LONG, stream=True, response_format=filled({"type": "integer"})),
    "in many messages": request("smollm2-135m", *["word " * 10] * 400, stream=True),
}


@pytest.mark.parametrize("name", OVERFLOWS)
async def test_a_prompt_that_is_too_long_is_a_400_before_the_stream(quickstart: httpx.AsyncClient, name: str) -> None:
    error = await refused(quickstart, OVERFLOWS[name])
    assert (error["param"], error["code"]) == ("messages", "context_length_exceeded")


async def test_a_raw_prompt_that_is_too_long_names_its_own_field(quickstart: httpx.AsyncClient) -> None:
    body = {"model": "smollm2-135m", "prompt": LONG, "stream": True}
    response = await quickstart.post("/v1/completions", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, "prompt", "context_length_exceeded")
