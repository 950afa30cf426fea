"""Schemas as grammars: what binds, what is refused by name, and what hostile ones can cost."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from serve_app.api.fields.json_schema import JsonSchema
from serve_app.core.tools import AnswerSchema
from serve_app.core.types.prompt import Prompt
from serve_app.engines import Engine
from serve_app.engines.llama_cpp.grammar import MAX_CHARACTERS, GrammarChecker, grammar
from serve_app.errors import EngineError, UnsupportedRequestError
from tests.engines.asking import chat, generate
from tests.engines.conftest import load_llama_cpp
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def checker() -> AsyncIterator[GrammarChecker]:
    checker = GrammarChecker()
    yield checker
    await checker.close()


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the grammar, without our options."""
    body: dict[str, Any] = json.loads(grammar(schema).partition("%json ")[2])
    del body["x-guidance"]
    return body


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


A, B = an_object(a={}), an_object(b={})
CLOSED_A, CLOSED_B = A | {"additionalProperties": False}, B | {"additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (A, CLOSED_A),
        (an_object(inner=A), an_object(inner=CLOSED_A) | {"additionalProperties": False}),
        ({"type": "array", "items": A}, {"type": "array", "items": CLOSED_A}),
        ({"anyOf": [A, B]}, {"anyOf": [CLOSED_A, CLOSED_B]}),
        # What a client says of other properties stands.
        (A | {"additionalProperties": True}, A | {"additionalProperties": True}),
        (A | {"additionalProperties": B}, A | {"additionalProperties": CLOSED_B}),
        # Nor is an object closed that would then have no value.
        (A | {"required": ["a", "b"]}, A | {"required": ["a", "b"]}),
        (A | {"minProperties": 2}, A | {"minProperties": 2}),
        # Nothing is closed about which another part speaks.
        ({"allOf": [A, B]}, {"allOf": [A, B]}),
        (A | {"anyOf": [B, {"required": ["a"]}]}, A | {"anyOf": [B, {"required": ["a"]}]}),
        (A | {"patternProperties": {"^x": B}}, A | {"patternProperties": {"^x": CLOSED_B}}),
        ({"$defs": {"a": A}, "$ref": "#/$defs/a"}, {"$defs": {"a": CLOSED_A}, "$ref": "#/$defs/a"}),
        (
            {"$defs": {"a": A}, "allOf": [{"$ref": "#/$defs/a"}, B]},
            {"$defs": {"a": A}, "allOf": [{"$ref": "#/$defs/a"}, B]},
        ),
        # No keyword, but values and a property's name.
        ({"const": A}, {"const": A}),
        (an_object(properties=A), an_object(properties=CLOSED_A) | {"additionalProperties": False}),
        (an_object(allOf=True, required=A), an_object(allOf=True, required=CLOSED_A) | {"additionalProperties": False}),
    ],
)
async def test_objects_get_no_properties_that_nobody_listed(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert closed(schema) == expected


KEYWORDS = ("type", "properties", "required", "items", "allOf", "anyOf", "$ref", "$defs", "enum", "default", "minItems")
SCHEMAS = st.recursive(
    st.one_of(st.booleans(), st.sampled_from(["object", "#", "a"]), st.integers(0, 3)),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), parts, max_size=4),
    max_leaves=12,
)
A_SCHEMA: TypeAdapter[dict[str, Any]] = TypeAdapter(JsonSchema)


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(SCHEMAS)
async def test_any_schema_that_passes_the_door_has_a_grammar(schema: Any) -> None:
    try:
        A_SCHEMA.validate_python(schema)
    except ValidationError:
        reject()
    assert grammar(schema).startswith("%llguidance {}\nstart: %json {")


def pattern(text: str) -> dict[str, Any]:
    return an_object(a={"type": "string", "pattern": text})


REFUSED = [
    ({"not": {"type": "string"}}, 'Unimplemented keys: ["not"]'),
    ({"if": {"type": "string"}, "then": {"maxLength": 3}}, 'Unimplemented keys: ["if", "then"]'),
    ({"type": "array", "uniqueItems": True}, 'Unimplemented keys: ["uniqueItems"]'),
    ({"type": "string", "format": "phone"}, "Unknown format: phone"),
    ({"$ref": "#/$defs/gone"}, "Pointer '/$defs/gone' does not exist"),
    ({"$ref": "https://example.com/schema.json"}, "is not present in a registry"),
    ({"enum": []}, "Unsatisfiable schema: anyOf is empty"),
    ({"type": "array", "minItems": 3, "maxItems": 1, "items": {}}, "minItems (3) is greater than maxItems (1)"),
    (pattern("^[z-a]$"), "invalid character class range, the start must be <= the end"),
    (pattern(r"^(?=a)b$"), "look-around, including look-ahead and look-behind, is not supported"),
    (pattern(r"\bfoo\b"), "lookarounds not supported yet"),
    ({"enum": ["x" * 100] * 1000}, f"more than {MAX_CHARACTERS}"),
    # llguidance quotes the whole grammar in this message, here in several hundred thousand bytes of JSON.
    ({"description": "é" * 60_000, "type": "integer", "minimum": -(10**300)}, "Failed to generate regex"),
]


@pytest.mark.parametrize(("schema", "reason"), REFUSED)
async def test_what_cannot_be_enforced_is_said_by_name(
    checker: GrammarChecker, schema: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnsupportedRequestError) as error:
        await checker.check(grammar(schema), "tools")
    assert reason in str(error.value)
    assert len(str(error.value)) < 400


HOSTILE = [
    pattern("^(a?){0,999}$"),
    pattern("^((((a{0,500}){0,500}){0,500}){0,500})$"),
    pattern("^(" + "|".join(f"w{number}" for number in range(8000)) + ")$"),
    {"type": "object", "patternProperties": {rf"^\w{{{size}}}$": {"type": "integer"} for size in range(1, 300)}},
    {"allOf": [{"type": "string", "pattern": f".*{letter}.*"} for letter in "abcdefghijklmnopq"]},
    {"$defs": {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}, "$ref": "#/$defs/a0"},
    {"enum": [f"v{number}" for number in range(6000)]},
    {"anyOf": [an_object(**{f"a{number}": {}}) for number in range(1000)]},
    an_object(**{f"p{number}": {"type": "integer"} for number in range(1500)}),
    {"$ref": "#"},
    {"type": "integer", "minimum": -(10**300), "maximum": 10**300},
]


@pytest.mark.parametrize("schema", HOSTILE, ids=lambda schema: json.dumps(schema)[:40])
async def test_a_hostile_schema_ends_and_the_next_one_is_compiled(
    checker: GrammarChecker, schema: dict[str, Any]
) -> None:
    async with asyncio.timeout(PATIENCE_S):
        with suppress(UnsupportedRequestError):
            await checker.check(grammar(schema), "tools")
        new = uuid4().hex  # a grammar that was seen before is not compiled again
        await checker.check(grammar(an_object(**{new: {}})), "tools")


async def test_a_grammar_that_takes_too_long_ends_its_process() -> None:
    checker = GrammarChecker(time_limit_s=0.5)
    with pytest.raises(UnsupportedRequestError, match=r"compiling it takes longer than 0\.5 s"):
        await checker.check(grammar(HOSTILE[3]), "tools")
    await checker.check(grammar(A), "tools")
    await checker.close()


async def test_a_check_that_is_cancelled_leaves_the_next_one_its_answer() -> None:
    checker = GrammarChecker()
    await checker.check(grammar(A), "tools")  # so that a grammar is cancelled, not the start of the process
    task = asyncio.ensure_future(checker.check(grammar(HOSTILE[3]), "tools"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(UnsupportedRequestError, match="anyOf is empty"):
        await checker.check(grammar({"enum": []}), "tools")
    await checker.close()


async def test_closing_ends_the_process() -> None:
    checker = GrammarChecker()
    await checker.check(grammar(A), "tools")
    process = checker._process
    assert process is not None
    await checker.close()
    assert process.returncode is not None
    await checker.close()


async def test_nothing_is_checked_once_it_is_closed() -> None:
    checker = GrammarChecker()
    check = asyncio.ensure_future(checker.check(grammar(A), "tools"))
    await checker.close()
    with pytest.raises(EngineError, match="being closed"):
        await check
    assert checker._process is None


COUNTING = """
import json, sys
for number, line in enumerate(sys.stdin):
    print(json.dumps("" if number < 2 else f"error: grammar {number}"), flush=True)
"""


async def test_equal_grammars_are_compiled_once() -> None:
    checker = GrammarChecker(command=(sys.executable, "-c", COUNTING))
    await asyncio.gather(*[checker.check("a", "tools") for _ in range(5)])
    for _ in range(2):
        with pytest.raises(UnsupportedRequestError, match="grammar 2"):
            await checker.check("b", "tools")
    with pytest.raises(UnsupportedRequestError, match="grammar 3"):
        await checker.check("c", "tools")
    await checker.close()


@pytest.mark.parametrize(
    ("command", "limit_s", "problem"),
    [
        (("/no/such/python",), 60, "No such file or directory"),
        ((sys.executable, "-c", "pass"), 60, "it ended at once"),
        ((sys.executable, "-c", "import time; time.sleep(99)"), 0.5, r"it is not ready after 0\.5 s"),
    ],
)
async def test_a_process_that_does_not_start_is_an_error_of_the_engine(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], limit_s: float, problem: str
) -> None:
    monkeypatch.setattr("serve_app.engines.llama_cpp.grammar.START_LIMIT_S", limit_s)
    checker = GrammarChecker(command=command)
    with pytest.raises(EngineError, match=f"could not be started: {problem}"):
        await checker.check("a", "tools")
    assert checker._process is None
    await checker.close()


def bound(schema: dict[str, Any], **sampling: Any) -> Prompt:
    prompt = chat("Give a person as JSON.", **({"max_tokens": 80, "temperature": 1.0, "seed": 7} | sampling))
    return replace(prompt, response_format=AnswerSchema("x", schema))


def required(**properties: Any) -> dict[str, Any]:
    return an_object(**properties) | {"required": list(properties), "additionalProperties": False}


@pytest.mark.models
@pytest.mark.parametrize(
    "schema",
    [
        required(a={"type": "string", "pattern": r"^\d{3}-\d{4}$"}),
        required(a={"type": "string", "pattern": r"^[a-z]+$", "maxLength": 3}),
        required(a={"type": "number", "minimum": 5, "maximum": 6}),
        required(a={"type": "integer", "multipleOf": 7, "minimum": 10, "maximum": 99}),
        required(a={"type": "string", "format": "ipv4"}),
        required(a={"allOf": [{"type": "string"}, {"maxLength": 3}]}),
        required(a=True, b={"type": "array", "items": False}),
        required(a={"type": "string", "pattern": "^(a?){0,999}$"}),
        required(a={"enum": [f"v{number}" for number in range(2000)]}),
    ],
    ids=lambda schema: json.dumps(schema["properties"])[:40],
)
async def test_llama_cpp_keeps_what_its_own_converter_dropped(llama: Engine, schema: dict[str, Any]) -> None:
    answer = await generate(llama, bound(schema))
    if answer.finish_reason == "stop":
        jsonschema_rs.validate(schema, json.loads(answer.text))
    else:
        assert answer.text.startswith("{")


@pytest.mark.models
async def test_hostile_schemas_cost_the_engine_no_other_request(llama: Engine) -> None:
    for schema in HOSTILE:
        hostile = asyncio.ensure_future(generate(llama, bound(schema, max_tokens=4)))
        started = time.perf_counter()
        plain = await generate(llama, chat("Hi", max_tokens=2))
        assert plain.completion_tokens == 2
        assert time.perf_counter() - started < 60
        await asyncio.wait([hostile])
        assert hostile.exception() is None or isinstance(hostile.exception(), UnsupportedRequestError)


def marked(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema beside a name that no log may show."""
    return {"$defs": {"SECRETNAME": {"const": "SECRETNAME"}}, "description": "SECRETNAME"} | schema


async def test_a_schema_that_fails_is_in_no_log(capfd: pytest.CaptureFixture[str]) -> None:
    checker = GrammarChecker(time_limit_s=0.5)
    for schema in [*(schema for schema, _ in REFUSED), *HOSTILE]:
        with suppress(UnsupportedRequestError):
            await checker.check(grammar(marked(schema)), "tools")
    await checker.close()
    assert capfd.readouterr() == ("", "")


async def test_llama_cpp_logs_no_schema_either(
    smollm2: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even of grammars that are not checked first."""

    async def unchecked(self: GrammarChecker, text: str, field: str) -> None:
        pass

    monkeypatch.setattr(GrammarChecker, "check", unchecked)
    engine = await load_llama_cpp(smollm2)
    for schema in (marked(pattern("(?=SECRETNAME)a")), marked({"not": {"const": "SECRETNAME"}})):
        with suppress(EngineError):
            await generate(engine, replace(chat("Hello", max_tokens=2), response_format=AnswerSchema("a", schema)))
    await engine.close()
    out, err = capfd.readouterr()
    assert "SECRETNAME" not in out + err
