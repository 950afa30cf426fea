"""What a cascade's models cannot honour is refused by name."""

import dataclasses
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.core.tools import Tool
from serve_app.core.types.prompt import Image, Message, Prompt, Sampling, ToolCall
from serve_app.deployments.opening.capabilities import SAMPLING_SUBJECTS, check_honoured
from serve_app.engines import EngineSettings, LlamaCppConfig, OpenAiApiConfig, ReplayConfig, Seq2SeqConfig, VllmConfig
from serve_app.engines.base import OPTIONAL_SAMPLING
from serve_app.errors import RequestError

ABLE = {
    "able": ReplayConfig(engine="replay"),
    "too": LlamaCppConfig(engine="llama_cpp", weights="x.gguf", reasoning_effort=True),
}
SEEING = {"vision": True, "engine": "openai_api", "model": "x"}
PICTURE = Message("user", "", parts=(Image("data:image/png;base64,AA=="),))
LINK = Message("user", "", parts=("Look: ", Image("https://example.com/a.png")))
UNABLE = ABLE | {"old": EngineSettings(), "older": EngineSettings()}
HI = Message("user", "Hi")
CALL = Message("assistant", "", (ToolCall("1", "f", "{}"),))

WANTS: list[tuple[Prompt, str, str]] = [
    (Prompt((HI,), tools=(Tool("f"),)), "tools", "tools: tools are"),
    (Prompt((HI, CALL)), "messages", "messages: calls of tools in messages are"),
    (Prompt((HI, Message("tool", "x", (), "1"))), "messages", "messages: calls of tools in messages are"),
    *(
        (Prompt((HI,), sampling=Sampling(**{field: value})), field, f"{field}: {subject} are")
        for field, value, subject in [
            ("frequency_penalty", 0.5, "penalties"),
            ("presence_penalty", -0.5, "penalties"),
        ]
    ),
    (
        Prompt((HI,), response_format="json_object"),
        "response_format",
        "response_format: response formats are",
    ),
    (
        Prompt((HI,), sampling=Sampling(reasoning_effort="low")),
        "reasoning_effort",
        "reasoning_effort: reasoning efforts other than none are",
    ),
    (
        Prompt((HI,), sampling=Sampling(max_reasoning_tokens=9)),
        "max_reasoning_tokens",
        "max_reasoning_tokens: limits to reasoning are",
    ),
]


@pytest.mark.parametrize(("prompt", "field", "sentence"), WANTS)
def test_refusals_name_the_field_and_the_models(prompt: Prompt, field: str, sentence: str) -> None:
    check_honoured(prompt, ABLE)
    with pytest.raises(RequestError) as caught:
        check_honoured(prompt, UNABLE)
    assert caught.value.param == field
    assert str(caught.value) == f"{sentence} not honoured by 'old', 'older', which would be asked."


def test_every_optional_field_of_sampling_has_words() -> None:
    assert set(SAMPLING_SUBJECTS) == OPTIONAL_SAMPLING <= {field.name for field in dataclasses.fields(Sampling)}


def test_a_recorded_answer_has_no_alternatives_to_its_tokens() -> None:
    prompt = Prompt((HI,), sampling=Sampling(logprobs=True, top_logprobs=3))
    check_honoured(prompt, {"too": ABLE["too"]})
    with pytest.raises(RequestError, match=r"^top_logprobs: alternatives to tokens are not honoured by 'able', which"):
        check_honoured(prompt, ABLE)


def test_images_go_to_models_that_see() -> None:
    seeing = {"seeing": OpenAiApiConfig(**SEEING), "too": VllmConfig(engine="vllm", weights="x", vision=True)}
    check_honoured(Prompt((HI, PICTURE)), seeing)
    with pytest.raises(RequestError, match=r"^messages: images are not honoured by 'able', which would be asked\.$"):
        check_honoured(Prompt((HI, PICTURE)), seeing | {"able": ABLE["able"]})


def test_urls_of_images_need_a_config_of_their_own() -> None:
    seeing = {"seeing": OpenAiApiConfig(**SEEING), "fetching": OpenAiApiConfig(**SEEING, image_urls=True)}
    check_honoured(Prompt((HI, LINK)), {"fetching": seeing["fetching"]})
    with pytest.raises(RequestError, match=r"^messages: http\(s\) URLs of images are not honoured by 'seeing', which"):
        check_honoured(Prompt((HI, LINK)), seeing)
    with pytest.raises(ValidationError, match="image_urls: needs vision: true"):
        OpenAiApiConfig(**SEEING | {"vision": False}, image_urls=True)


def test_token_ids_are_those_of_one_model() -> None:
    prompt = Prompt((HI,), sampling=Sampling(logit_bias=((7, -100.0),)))
    check_honoured(prompt, {"too": ABLE["too"]})
    with pytest.raises(RequestError, match=r"^logit_bias: only for a single model, not for a cascade") as caught:
        check_honoured(prompt, ABLE)
    assert caught.value.param == "logit_bias"
    with pytest.raises(RequestError, match=r"^logit_bias: biases of tokens are not honoured by 'old', which"):
        check_honoured(prompt, {"old": EngineSettings()})


OFF = Prompt((HI,), sampling=Sampling(reasoning_effort="none"))
ZEROS = Sampling(frequency_penalty=0.0, presence_penalty=0.0)


@pytest.mark.parametrize("prompt", [Prompt((HI,)), Prompt(text="Hi"), Prompt((HI,), sampling=ZEROS), OFF])
def test_other_requests_are_nobodys_trouble(prompt: Prompt) -> None:
    check_honoured(prompt, UNABLE)


@pytest.mark.parametrize(("config", "honours"), [(ReplayConfig, True), (LlamaCppConfig, True), (EngineSettings, False)])
def test_what_engines_say_of_themselves(config: Any, honours: bool) -> None:
    assert (config.honours_tools, config.honours_response_format) == (honours, honours)


@pytest.mark.parametrize(
    ("config", "effort", "limit"),
    [
        (EngineSettings(), False, False),
        (ReplayConfig(engine="replay"), True, True),
        (LlamaCppConfig(engine="llama_cpp", weights="x.gguf"), False, True),
        (LlamaCppConfig(engine="llama_cpp", weights="x.gguf", reasoning=None), False, False),
        (Seq2SeqConfig(engine="seq2seq", weights="x"), False, True),
        (OpenAiApiConfig(engine="openai_api", model="x"), False, False),
        (OpenAiApiConfig(engine="openai_api", model="x", reasoning_effort=True), True, False),
        (OpenAiApiConfig(engine="openai_api", model="x", max_reasoning_tokens_field="y"), False, True),
    ],
)
def test_what_engines_say_of_thoughts(config: EngineSettings, effort: bool, limit: bool) -> None:
    assert (config.honours_reasoning_effort, config.honours_max_reasoning_tokens) == (effort, limit)
