"""What a cascade's models cannot honour is refused by name."""

from typing import Any

import pytest

from serve_app.api.schema import CascadeOptions
from serve_app.core.tools import Tool
from serve_app.core.types import Message, Prompt, ToolCall
from serve_app.deployments.capabilities import check_honoured
from serve_app.engines import EngineSettings, LlamaCppConfig, ReplayConfig
from serve_app.errors import RequestError
from tests.deployments.unasked import router_of

ABLE = {"able": ReplayConfig(engine="replay"), "too": LlamaCppConfig(engine="llama_cpp", weights="x.gguf")}
UNABLE = ABLE | {"old": EngineSettings(), "older": EngineSettings()}
HI = Message("user", "Hi")
CALL = Message("assistant", "", (ToolCall("1", "f", "{}"),))

WANTS: list[tuple[Prompt, str, str]] = [
    (Prompt((HI,), tools=(Tool("f"),)), "tools", "tools: tools are"),
    (Prompt((HI, CALL)), "messages", "messages: calls of tools in messages are"),
    (Prompt((HI, Message("tool", "x", (), "1"))), "messages", "messages: calls of tools in messages are"),
    (
        Prompt((HI,), response_format="json_object"),
        "response_format",
        "response_format: response formats are",
    ),
]


@pytest.mark.parametrize(("prompt", "field", "sentence"), WANTS)
def test_refusals_name_the_field_and_the_models(prompt: Prompt, field: str, sentence: str) -> None:
    check_honoured(prompt, ABLE)
    with pytest.raises(RequestError) as caught:
        check_honoured(prompt, UNABLE)
    assert caught.value.param == field
    assert str(caught.value) == f"{sentence} not honoured by 'old', 'older', which would be asked."


@pytest.mark.parametrize("prompt", [Prompt((HI,)), Prompt(text="Hi")])
def test_other_requests_are_nobodys_trouble(prompt: Prompt) -> None:
    check_honoured(prompt, UNABLE)


@pytest.mark.parametrize(("config", "honours"), [(ReplayConfig, True), (LlamaCppConfig, True), (EngineSettings, False)])
def test_what_engines_say_of_themselves(config: Any, honours: bool) -> None:
    assert (config.honours_tools, config.honours_response_format) == (honours, honours)


def test_a_request_may_not_compare_the_answers_of_one_model() -> None:
    model = {"engine": "replay", "default": "x"}
    tiers = [{"models": ["a"], "signal": "chow_avg", "threshold": -1}, {"models": ["t"]}]
    router = router_of({"a": model, "t": model}, {"default": {"tiers": tiers}})
    with pytest.raises(RequestError) as caught:
        router.open("default", Prompt((HI,)), CascadeOptions(signal="rougeL"), stream=False)
    assert caught.value.param == "cascade.signal"
    assert str(caught.value) == "cascade.signal: 'rougeL' compares answers, and no tier has several to compare."


def test_the_router_looks_only_at_the_models_that_a_request_would_ask() -> None:
    able = {"engine": "replay", "default": "x"}
    models = {"a": able, "b": able, "t": able, "old": {"engine": "seq2seq", "weights": "./t5"}}
    cascades = {
        "default": {"tiers": [{"models": ["a", "b"], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]},
        "mixed": {"tiers": [{"models": ["a", "old"], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]},
    }
    router = router_of(models, cascades)
    tools = WANTS[0][0]
    for model in ("default", "a"):
        assert router.open(model, tools, CascadeOptions(), stream=False).prompt == tools
    for model in ("mixed", "old"):
        with pytest.raises(RequestError, match=r"^tools: tools are not honoured by 'old', which would be asked\.$"):
            router.open(model, tools, CascadeOptions(), stream=False)
