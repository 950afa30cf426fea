"""Values of known fields that are refused."""

import json
import typing
from typing import Any

import httpx
import pytest
from openai.types import chat

from serve_app.api.chat.schema import BIAS
from tests.api.chat.requests import BASE, CHAT, JSON_TYPE, TEXT, error_of, refused
from tests.api.serving import FakeService


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
        "messages[0].nmae: this field is not supported. Did you mean 'name'?",
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
    (
        CHAT,
        {"cascade": {"treshold": 1}},
        "cascade.treshold: this field is not supported. Did you mean 'threshold'?",
    ),
    (
        CHAT,
        {"stream_options": {"include_usge": True}},
        "stream_options.include_usge: this field is not supported. Did you mean 'include_usage'?",
    ),
    (
        CHAT,
        {"cascade": {"max_latencys": 1}},
        "cascade.max_latencys: this field is not supported. Did you mean 'max_latency_s'?",
    ),
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


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["temperature", "cascade.threshold"])
async def test_numbers_are_finite(http: httpx.AsyncClient, field, number):
    written = {"temperature": "%", "cascade.threshold": '{"threshold": %}'}[field].replace("%", number)
    body = json.dumps(BASE[CHAT])[:-1] + f', "{field.split(".", 1)[0]}": {written}}}'
    response = await http.post(CHAT, content=body, headers=JSON_TYPE)
    assert response.status_code == 400
    assert error_of(response)["param"] == field
