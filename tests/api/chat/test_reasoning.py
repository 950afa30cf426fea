"""Reasoning in chats: apart from the text, plain and streamed, and what requests may say of it."""

from typing import Any

import httpx
import openai
import pytest

from serve_app.core.types.prompt import Sampling
from tests.api.serving import FakeService, Scripted

ASK: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": "Capital?"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def thinkers(service: FakeService) -> None:
    """Return members that agree after different thoughts."""
    service.models["a"] = Scripted("Paris", reasoning="France, so")
    service.models["b"] = Scripted("Paris", reasoning="I know that")
    service.models["t"] = Scripted("It is Paris.", reasoning="Let me see")


async def test_members_agree_whatever_they_thought(client: openai.AsyncOpenAI) -> None:
    response = await client.chat.completions.create(**ASK, extra_body={"cascade": {"include_answers": True}})
    message = response.choices[0].message
    assert (message.content, message.model_extra) == ("Paris", {"reasoning_content": "France, so"})
    assert response.usage is not None
    assert response.usage.completion_tokens_details is not None
    assert response.usage.completion_tokens_details.reasoning_tokens == 5
    [tier] = response.model_extra["cascade"]["tiers"] if response.model_extra else [{}]
    assert (tier["agreement"], tier["answers"]) == (1, ["Paris", "Paris"])
    assert tier["reasoning"] == ["France, so", "I know that"]


@pytest.mark.parametrize("agree", [True, False])
async def test_a_stream_has_the_thoughts_first(client: openai.AsyncOpenAI, service: FakeService, agree: bool) -> None:
    if not agree:
        service.disagree()
    deltas = [
        chunk.choices[0].delta
        async for chunk in await client.chat.completions.create(**ASK, stream=True)
        if chunk.choices
    ]
    shown = [((delta.model_extra or {}).get("reasoning_content"), delta.content) for delta in deltas]
    thoughts, text = ("France, so", "Paris") if agree else ("Let me see", "It is Paris.")
    assert shown[1] == (thoughts, None)
    assert "".join(content or "" for _, content in shown) == text
    assert [thought for thought, _ in shown].count(None) == len(shown) - 1


async def test_only_thoughts_are_an_empty_answer(client: openai.AsyncOpenAI, service: FakeService) -> None:
    for name in ("a", "b"):
        service.models[name] = Scripted("", reasoning="The same thoughts", finish_reason="length")
    response = await client.chat.completions.create(**ASK)
    assert response.choices[0].message.content == "It is Paris."
    assert response.model_extra is not None
    assert response.model_extra["cascade"]["deferred"] is True


async def test_raw_completions_show_no_thoughts(http: httpx.AsyncClient) -> None:
    body = {"model": "default", "prompt": "Capital?"}
    assert (await http.post("/v1/completions", json=body)).json()["choices"][0]["text"] == "Paris"
    assert "France" not in (await http.post("/v1/completions", json=body | {"stream": True})).text


@pytest.mark.parametrize(
    ("fields", "sampling"),
    [
        ({}, Sampling()),
        ({"reasoning_effort": None, "max_reasoning_tokens": None}, Sampling()),
        ({"reasoning_effort": "none"}, Sampling(reasoning_effort="none")),
        ({"reasoning_effort": "xhigh"}, Sampling(reasoning_effort="xhigh")),
        ({"max_reasoning_tokens": 1}, Sampling(max_reasoning_tokens=1)),
    ],
)
async def test_what_models_are_told(
    http: httpx.AsyncClient, service: FakeService, fields: dict[str, Any], sampling: Sampling
) -> None:
    assert (await http.post(CHAT, json=ASK | fields)).status_code == 200
    assert service.models["a"].prompts[0].sampling == sampling


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reasoning_effort": "hard"}, "reasoning_effort"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"max_reasoning_tokens": 0}, "max_reasoning_tokens"),
        ({"max_reasoning_tokens": True}, "max_reasoning_tokens"),
        ({"max_reasoning_tokens": 2**31}, "max_reasoning_tokens"),
    ],
)
async def test_other_values_are_refused_by_name(http: httpx.AsyncClient, fields: dict[str, Any], field: str) -> None:
    response = await http.post(CHAT, json=ASK | fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, field)


async def test_an_answer_goes_back_as_history(http: httpx.AsyncClient, service: FakeService) -> None:
    message = (await http.post(CHAT, json=ASK)).json()["choices"][0]["message"]
    again = ASK | {"messages": [*ASK["messages"], message, {"role": "user", "content": "Sure?"}]}
    assert (await http.post(CHAT, json=again)).status_code == 200
    assert [shown.content for shown in service.models["a"].prompts[1].messages] == ["Capital?", "Paris", "Sure?"]
