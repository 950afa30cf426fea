"""What clients may send: honoured, accepted, or refused by name."""

import asyncio
import json
import typing
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types import chat, completion_create_params
from openai.types.chat import completion_create_params as chat_create_params

from serve_app.api.chat.schema import BIAS, ChatCompletion, TextCompletion
from serve_app.api.chat.tolerated import IGNORED, NEUTRAL
from serve_app.api.routes import build_api
from serve_app.core.types.prompt import Message, Prompt, Sampling

from .serving import FakeService

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
BASE: dict[str, dict[str, Any]] = {
    CHAT: {"model": "default", "messages": [{"role": "user", "content": "Hi"}]},
    TEXT: {"model": "default", "prompt": "Hi"},
}
PATHS = list(BASE)
PARAMS = {
    CHAT: chat_create_params.CompletionCreateParamsStreaming,
    TEXT: completion_create_params.CompletionCreateParamsStreaming,
}

HONOURED = {
    CHAT: {
        "messages",
        "max_completion_tokens",
        "logprobs",
        "top_logprobs",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
    },
    TEXT: {"prompt"},
}
SHARED = {"model", "max_tokens", "temperature", "top_p", "stop", "seed", "stream", "stream_options"}
SHARED |= {"n", "frequency_penalty", "presence_penalty", "logit_bias"}
OURS = {CHAT: {"cascade", "max_reasoning_tokens"}, TEXT: {"cascade"}}
"""Fields that are not OpenAI's."""
ACCEPTED = {CHAT: {"user", "metadata", *IGNORED["request"]}, TEXT: {"user"}}
REFUSED: dict[str, dict[str, Any]] = {
    CHAT: {
        "audio": {"voice": "alloy", "format": "wav"},
        "function_call": {"name": "f"},
        "functions": [{"name": "f"}],
        "modalities": ["text", "audio"],
        "moderation": {},
        "prediction": {"type": "content", "content": "x"},
        "service_tier": "flex",
        "store": True,
        "verbosity": "low",
        "web_search_options": {},
    },
    TEXT: {
        "best_of": 2,
        "echo": True,
        "logprobs": 1,
        "suffix": "!",
    },
}
"""A value that asks for something, for every field of the client's that we do not honour."""


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error object, which has OpenAI's four keys and nothing of our insides."""
    body = response.json()
    assert set(body) - {"cascade"} == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("invalid_request_error" if response.status_code < 500 else "server_error")
    assert "Traceback" not in error["message"]
    assert "pydantic" not in error["message"].lower()
    return error


async def refused(http: httpx.AsyncClient, path: str, **fields: Any) -> tuple[str, str | None]:
    response = await http.post(path, json=BASE[path] | fields)
    assert response.status_code == 400, response.text
    error = error_of(response)
    return error["message"], error["param"]


@pytest.mark.parametrize("path", PATHS)
def test_every_field_of_the_official_client_is_known_here(path: str):
    """Fails where a new version of the client brings a field: decide what to do with it."""
    assert set(typing.get_type_hints(PARAMS[path])) == SHARED | HONOURED[path] | ACCEPTED[path] | set(REFUSED[path])


@pytest.mark.parametrize("path", PATHS)
def test_what_is_honoured_is_what_the_schema_has(path: str):
    schema = {CHAT: ChatCompletion, TEXT: TextCompletion}[path]
    assert set(schema.model_fields) == SHARED | HONOURED[path] | OURS[path] | {"user", "metadata"}


@pytest.mark.parametrize(("path", "name"), [(path, name) for path in PATHS for name in REFUSED[path]])
async def test_what_is_not_honoured_is_refused_by_name(http: httpx.AsyncClient, service: FakeService, path, name):
    message, param = await refused(http, path, **{name: REFUSED[path][name]})
    assert param == name
    assert message.startswith(f"{name}: ")
    assert not service.runs


NEUTRALS = [(path, name, value) for path in PATHS for name, values in NEUTRAL.items() for value in values]


@pytest.mark.parametrize(("path", "name", "value"), NEUTRALS)
async def test_neutral_values_ask_for_nothing(http: httpx.AsyncClient, path, name, value):
    assert (await http.post(path, json=BASE[path] | {name: value})).status_code == 200


@pytest.mark.parametrize("path", PATHS)
async def test_null_asks_for_nothing(http: httpx.AsyncClient, path):
    nulls = dict.fromkeys(typing.get_type_hints(PARAMS[path]))
    response = await http.post(path, json=nulls | BASE[path])
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("name", "value"),
    [("n", True), ("frequency_penalty", False), ("store", 0), ("echo", 0), ("best_of", "1"), ("logit_bias", [])],
)
async def test_other_types_are_not_neutral(http: httpx.AsyncClient, name, value):
    _, param = await refused(http, TEXT, **{name: value})
    assert param == name


async def test_refusals_name_what_would_do(http: httpx.AsyncClient):
    assert await refused(http, TEXT, best_of=2) == ("best_of: not supported, except 1.", "best_of")
    assert await refused(http, CHAT, function_call="f") == (
        'function_call: not supported, except "none" or "auto".',
        "function_call",
    )
    assert await refused(http, CHAT, temprature=1) == ("temprature: this field is not supported.", "temprature")


@pytest.mark.parametrize("path", PATHS)
async def test_an_unknown_field_is_named_wherever_it_stands(http: httpx.AsyncClient, path: str):
    response = await http.post(path, json={"temprature": 1, "streem": True} | BASE[path])
    assert response.status_code == 400
    assert error_of(response)["message"] == "temprature: this field is not supported."
    message = {"nmae": "x", "role": "user", "content": "Hi"}
    sentence, param = await refused(http, CHAT, messages=[message])
    assert (sentence, param) == ("messages[0].nmae: this field is not supported.", "messages[0].nmae")


@pytest.mark.parametrize("path", PATHS)
async def test_user_and_metadata_are_accepted(http: httpx.AsyncClient, path):
    response = await http.post(path, json=BASE[path] | {"user": "someone", "metadata": {"team": "a"}})
    assert response.status_code == 200


async def test_every_field_reaches_the_models(http: httpx.AsyncClient, service: FakeService):
    fields = {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "stop": ["a", "b"], "seed": 3}
    fields |= {"frequency_penalty": 0.5, "presence_penalty": -0.5, "logit_bias": {"50256": -100, "0": 1.5}}
    adjusted = {"frequency_penalty": 0.5, "presence_penalty": -0.5, "logit_bias": ((50256, -100), (0, 1.5))}
    parts = [{"type": "text", "text": "Capital of "}, {"type": "text", "text": "France?"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    for body in (fields | {"logprobs": True, "top_logprobs": 5}, {"max_completion_tokens": 9, "stop": "x"}, {}):
        assert (await http.post(CHAT, json=BASE[CHAT] | {"messages": messages} | body)).status_code == 200
    assert (await http.post(TEXT, json=BASE[TEXT] | fields)).status_code == 200
    asked = (Message("system", "Be brief."), Message("user", "Capital of France?"))
    for model in ("a", "b"):
        assert service.models[model].prompts == [
            Prompt(asked, sampling=Sampling(7, 0.5, 0.9, ("a", "b"), 3, True, top_logprobs=5, **adjusted)),
            Prompt(asked, sampling=Sampling(9, stop=("x",))),
            Prompt(asked),
            Prompt(text="Hi", sampling=Sampling(7, 0.5, 0.9, ("a", "b"), 3, **adjusted)),
        ]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a\ud800b"}]}, "messages[0].content"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "stop": "\udc00"}, "stop"),
        ("/v1/completions", {"prompt": "\ud83c"}, "prompt"),
    ],
)
async def test_half_a_surrogate_pair_is_no_character(http: Any, path: str, fields: dict[str, Any], param: str) -> None:
    body = json.dumps({"model": "default"} | fields)
    response = await http.post(path, content=body, headers={"content-type": "application/json"})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert error["message"].startswith(f"{param}: ")


PROMPTS = "must be one string or up to 16, none of them empty; token lists are not honoured"
BAD_BIASES: list[Any] = [
    [],
    [[1, 2]],
    {"Paris": 1},
    {"-1": 1},
    {"1.0": 1},
    {"01": 1},
    {"9999999999": 1},
    {"1": "2"},
    {"1": True},
    {"1": 101},
    {"1": -100.5},
    {"1": None},
    {str(token): 0 for token in range(1025)},
]
BAD_VALUES: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"temperature": 3}, "temperature: must be less than or equal to 2, got 3."),
    (CHAT, {"temperature": "hot"}, 'temperature: must be a valid number, got "hot".'),
    (CHAT, {"temperature": True}, "temperature: must be a valid number, got true."),
    (CHAT, {"top_p": -0.1}, "top_p: must be greater than or equal to 0, got -0.1."),
    (CHAT, {"max_tokens": 0}, "max_tokens: must be greater than or equal to 1, got 0."),
    (CHAT, {"max_tokens": 2**32}, "max_tokens: must be less than or equal to 2147483647, got 4294967296."),
    (CHAT, {"max_tokens": "5"}, 'max_tokens: must be a valid integer, got "5".'),
    (CHAT, {"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens: contradicts max_completion_tokens."),
    (CHAT, {"seed": 2**63}, f"seed: must be less than {2**63}, got {2**63}."),
    (CHAT, {"stop": 5}, "stop: must be a valid string or a valid list, got 5."),
    (CHAT, {"stop": ["a", ""]}, "stop: must be at most 4 strings, none of them empty."),
    (CHAT, {"stop": list("abcde")}, "stop: must be at most 4 strings, none of them empty."),
    (CHAT, {"stream": "yes"}, 'stream: must be a valid boolean, got "yes".'),
    (CHAT, {"stream_options": {"include_usage": True}}, "stream_options: only with stream: true."),
    (CHAT, {"stream": True, "logprobs": True}, "logprobs: not honoured together with stream: true."),
    (
        CHAT,
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        "stream_options.include_obfuscation: must be False, got true.",
    ),
    (CHAT, {"frequency_penalty": 2.5}, "frequency_penalty: must be less than or equal to 2, got 2.5."),
    (TEXT, {"presence_penalty": -3}, "presence_penalty: must be greater than or equal to -2, got -3."),
    *((CHAT, {"logit_bias": value}, f"logit_bias: {BIAS}.") for value in BAD_BIASES),
    (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs: must be less than or equal to 20, got 21."),
    (CHAT, {"top_logprobs": 5}, "top_logprobs: needs logprobs: true."),
    (CHAT, {"metadata": {"a": 1}}, "metadata.a: must be a valid string, got 1."),
    (CHAT, {"model": None}, "model: required, but missing."),
    (CHAT, {"messages": []}, "messages: must have at least 1 item."),
    (CHAT, {"messages": "Hi"}, 'messages: must be a valid list, got "Hi".'),
    (CHAT, {"messages": ["Hi"]}, "messages[0]: must be a JSON object."),
    (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content: required, but missing."),
    (
        CHAT,
        {"messages": [{"role": "tool", "content": "x"}]},
        "messages[0].tool_call_id: required, but missing.",
    ),
    (
        CHAT,
        {"messages": [{"role": "critic", "content": "x"}]},
        "messages[0].role: must be 'system', 'developer', 'user', 'assistant' or 'tool', got \"critic\".",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": "x", "nmae": "Ann"}]},
        "messages[0].nmae: this field is not supported.",
    ),
    (TEXT, {"prompt": None}, "prompt: required, but missing."),
    (TEXT, {"prompt": ""}, f'prompt: {PROMPTS}, got "".'),
    (TEXT, {"prompt": [1, 2]}, f"prompt: {PROMPTS}."),
    (CHAT, {"cascade": 5}, "cascade: must be a JSON object."),
    (CHAT, {"cascade": {"force": "maybe"}}, "cascade.force: must be 'accept' or 'defer', got \"maybe\"."),
    (CHAT, {"cascade": {"threshold": "x"}}, 'cascade.threshold: must be a valid number or a valid list, got "x".'),
    (CHAT, {"cascade": {"threshold": [0.5, "x"]}}, 'cascade.threshold[1]: must be a valid number, got "x".'),
    (CHAT, {"cascade": {"signal": 1}}, "cascade.signal: must be a valid string, got 1."),
    (
        CHAT,
        {"cascade": {"compare": {"take": {"regex": "(a+)+b"}}}},
        "cascade.compare: take: cannot be 'regex'. Available: boxed, choice, last_number, {after: ...}, {json: ...}.",
    ),
    (
        CHAT,
        {"cascade": {"compare": {"take": 1}}},
        "cascade.compare.take: must be a valid string or a valid dictionary or a valid list, got 1.",
    ),
    (
        CHAT,
        {"cascade": {"compare": {"take": {"json": "a" * 257}}}},
        "cascade.compare: take: must have at most 256 characters.",
    ),
    (
        CHAT,
        {"cascade": {"compare": {"take": {"json": "a" * 257, "then": "boxed"}}}},
        "cascade.compare: take: must have at most 256 characters.",
    ),
    (
        CHAT,
        {"cascade": {"compare": {"strip": ["html"]}}},
        "cascade.compare.strip[0]: must be 'code_fences' or 'markdown', got \"html\".",
    ),
    (CHAT, {"cascade": {"signal": "bleo"}}, "cascade.signal: no signal 'bleo'. Available: exact."),
    (CHAT, {"cascade": {"include_answers": 1}}, "cascade.include_answers: must be a valid boolean, got 1."),
    (CHAT, {"cascade": {"treshold": 1}}, "cascade.treshold: this field is not supported."),
    (CHAT, {"str": 1}, "str: this field is not supported."),
]


@pytest.mark.parametrize(("path", "fields", "sentence"), BAD_VALUES)
async def test_bad_values(http: httpx.AsyncClient, service: FakeService, path, fields, sentence):
    message, param = await refused(http, path, **fields)
    assert message == sentence
    assert param == sentence.split(":")[0]
    assert not service.runs


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}, "input_audio"),
        ({"type": "file", "file": {"file_id": "1"}}, "file"),
        ({"type": "refusal", "refusal": "No."}, "refusal"),
    ],
)
async def test_parts_that_are_not_text_are_refused_by_name(http: httpx.AsyncClient, part, kind):
    content = [{"type": "text", "text": "What is this?"}, part]
    message, param = await refused(http, CHAT, messages=[{"role": "user", "content": content}])
    assert message == f"messages[0].content[1].type: must be 'text' or 'image_url', got \"{kind}\"."
    assert param == "messages[0].content[1].type"


def test_the_kinds_of_parts_are_those_of_the_client():
    kinds = [typing.get_type_hints(part)["type"] for part in typing.get_args(chat.ChatCompletionContentPartParam)]
    names = {typing.get_args(typing.get_args(kind)[0] if typing.get_args(kind)[1:] else kind)[0] for kind in kinds}
    assert {str(name) for name in names} == {"text", "image_url", "input_audio", "file"}


async def test_empty_lists_of_an_echoed_answer_are_accepted(http: httpx.AsyncClient):
    answer = {"role": "assistant", "content": "x", "annotations": [], "tool_calls": [], "audio": None, "refusal": None}
    messages = [{"role": "user", "content": "Hi"}, answer]
    assert (await http.post(CHAT, json=BASE[CHAT] | {"messages": messages})).status_code == 200


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0.3, "signal": "exact", "force": "defer", "include_answers": True},
        {"threshold": [0.1, 0.2]},
        {"threshold": -1},
        {"compare": {"take": ["boxed", {"json": "a"}], "normalise": ["numbers"]}},
        {"threshold": None, "signal": None, "force": None, "include_answers": None},
        {},
        None,
    ],
)
async def test_cascade_options_reach_the_service(http: httpx.AsyncClient, service: FakeService, options):
    assert (await http.post(CHAT, json=BASE[CHAT] | {"cascade": options})).status_code == 200
    wanted = {name: value for name, value in (options or {}).items() if value is not None}
    assert service.options[0].model_dump(exclude_unset=True) == wanted


JSON_TYPE = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("content", "headers", "sentence"),
    [
        (b"{", JSON_TYPE, "The request body is not valid JSON: "),
        (b"", JSON_TYPE, "The request has no body."),
        (b"", {}, "The request has no body."),
        (b"[]", JSON_TYPE, "The request body: must be a JSON object, sent with the content type application/json."),
        (b"null", JSON_TYPE, "The request body: must be a JSON object, sent with the content type application/json."),
        (b'{"model": "default"}', {"content-type": "application/x-www-form-urlencoded"}, "The request body: must be a"),
        (b'{"model": "default"}', {}, "The request body: must be a JSON object, sent with the content type"),
        (b'"\xff"', JSON_TYPE, "The request body is not valid UTF-8 at byte 1."),
        (b"[" * 100_000, JSON_TYPE, "The request body is nested deeper than 128 levels."),
        (
            b'{"\\ud800": 1, "model": "default", "prompt": "", "messages": [{"role": "user", "content": "Hi"}]}',
            JSON_TYPE,
            "",
        ),
        (b'{"model": "\\ud800", "messages": []}', JSON_TYPE, "model: must be a valid string"),
    ],
)
async def test_bad_bodies(http: httpx.AsyncClient, content, headers, sentence):
    response = await http.post(CHAT, content=content, headers=headers)
    assert response.status_code == 400
    assert error_of(response)["message"].startswith(sentence)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["temperature", "cascade.threshold"])
async def test_numbers_are_finite(http: httpx.AsyncClient, field, number):
    written = {"temperature": "%", "cascade.threshold": '{"threshold": %}'}[field].replace("%", number)
    body = json.dumps(BASE[CHAT])[:-1] + f', "{field.split(".", 1)[0]}": {written}}}'
    response = await http.post(CHAT, content=body, headers=JSON_TYPE)
    assert response.status_code == 400
    assert error_of(response)["param"] == field


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    sorted({*ChatCompletion.model_fields, *TextCompletion.model_fields, *NEUTRAL, "list[", "\ud800"})
)
BODIES = st.dictionaries(FIELDS, JSON, max_size=3) | JSON


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=BODIES, based=st.booleans())
def test_any_json_gets_an_answer_or_an_openai_error(path: str, body: Any, based: bool):
    async def ask() -> None:
        transport = httpx.ASGITransport(build_api(service), raise_app_exceptions=True)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://cascade", trust_env=False, verify=False
        ) as http:
            response = await http.post(path, content=json.dumps(whole), headers=JSON_TYPE)
        if response.status_code != 200:
            assert response.status_code in (400, 404)
            assert error_of(response)["message"]

    service = FakeService()
    whole = BASE[path] | body if based and isinstance(body, dict) else body
    asyncio.run(ask())
    assert len(service.runs) == len(service.closings)


async def test_a_session_is_named_in_the_body_or_a_header(http: httpx.AsyncClient, service: FakeService) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": "Hi"}]}
    path = "/v1/chat/completions"
    await http.post(path, json=body)
    await http.post(path, json=body, headers={"x-session-id": "one"})
    await http.post(path, json=body | {"cascade": {"session": "two"}}, headers={"x-session-id": "one"})
    assert [options.session for options in service.options] == [None, "one", "two"]
    for response in (
        await http.post(path, json=body, headers={"x-session-id": "x" * 257}),
        await http.post(path, json=body | {"cascade": {"session": "x" * 257}}),
        await http.post(path, json=body | {"cascade": {"session": ""}}),
    ):
        assert response.status_code == 400
        assert response.json()["error"]["param"] in ("x-session-id", "cascade.session")


async def test_a_time_limit_is_named_in_the_body_or_a_header(http: httpx.AsyncClient, service: FakeService) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": "Hi"}]}
    limited = body | {"cascade": {"max_latency_s": 4}}
    path, header = "/v1/chat/completions", "x-request-timeout-s"
    await http.post(path, json=body, headers={header: "2.5"})
    await http.post(path, json=limited, headers={header: "9"})
    await http.post(path, json=limited, headers={header: "3"})
    assert [options.max_latency_s for options in service.options] == [2.5, 4, 3]
    for value in ("0", "-1", "soon", "nan", "inf"):
        response = await http.post(path, json=body, headers={header: value})
        assert (response.status_code, response.json()["error"]["param"]) == (400, header)
    response = await http.post(path, json=body | {"n": 2}, headers={header: "9"})
    message = "x-request-timeout-s: a request with a time limit has one answer (n)."
    assert (response.status_code, response.json()["error"]["message"]) == (400, message)
