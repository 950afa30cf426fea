"""What a cascade's models cannot honour is refused by name."""

from typing import Any

import pytest

from serve_app.core.tools import Tool
from serve_app.core.types import Message, Prompt, ToolCall
from serve_app.deployments.capabilities import check_honoured
from serve_app.engines import EngineSettings, LlamaCppConfig, ReplayConfig
from serve_app.errors import RequestError

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
