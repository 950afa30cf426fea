"""What clients may send: honoured, accepted, or refused by name."""

import typing
from typing import Any

import httpx
import pytest
from openai.types import completion_create_params
from openai.types.chat import completion_create_params as chat_create_params

from serve_app.api.chat.schema import ChatCompletion, TextCompletion
from serve_app.api.chat.tolerated import IGNORED, NEUTRAL
from serve_app.core.types.prompt import Message, Prompt, Sampling
from tests.api.chat.requests import BASE, CHAT, PATHS, TEXT, error_of, refused
from tests.api.serving import FakeService

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
    assert await refused(http, CHAT, temprature=1) == (
        "temprature: this field is not supported. Did you mean 'temperature'?",
        "temprature",
    )


@pytest.mark.parametrize("path", PATHS)
async def test_an_unknown_field_is_named_wherever_it_stands(http: httpx.AsyncClient, path: str):
    response = await http.post(path, json={"temprature": 1, "streem": True} | BASE[path])
    assert response.status_code == 400
    assert error_of(response)["message"] == "temprature: this field is not supported. Did you mean 'temperature'?"
    message = {"nmae": "x", "role": "user", "content": "Hi"}
    sentence, param = await refused(http, CHAT, messages=[message])
    assert (sentence, param) == (
        "messages[0].nmae: this field is not supported. Did you mean 'name'?",
        "messages[0].nmae",
    )


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
    chat_messages = (Message("system", "Be brief."), Message("user", "Capital of France?"))
    for model in ("a", "b"):
        assert service.models[model].prompts == [
            Prompt(chat_messages, sampling=Sampling(7, 0.5, 0.9, ("a", "b"), 3, True, top_logprobs=5, **adjusted)),
            Prompt(chat_messages, sampling=Sampling(9, stop=("x",))),
            Prompt(chat_messages),
            Prompt(text="Hi", sampling=Sampling(7, 0.5, 0.9, ("a", "b"), 3, **adjusted)),
        ]


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
    expected = {name: value for name, value in (options or {}).items() if value is not None}
    assert service.options[0].model_dump(exclude_unset=True) == expected
