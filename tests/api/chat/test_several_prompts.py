"""Several prompts in `/v1/completions`: each is a run of its own."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from serve_app.api.intake.ask import Ask
from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.core.types.prompt import Prompt
from tests.api.serving import HANG, FakeService, Scripted, until

PROMPTS = ["one", "two", "three"]


class Echo(Scripted):
    """Answers with its prompt; the longest prompt first. A prompt `bad` fails, `slow` never ends, `bug` raises."""

    async def generate(self, prompt: Prompt) -> Answer:
        self.prompts.append(prompt)
        assert prompt.text is not None
        try:
            await asyncio.sleep(HANG if prompt.text == "slow" else 0.05 / len(prompt.text))
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if prompt.text == "bug":
            raise RuntimeError("secret")
        if prompt.text == "bad":
            return Failure("rate_limited", "Too many.", 10, 0, retry_after_s=3)
        return Generation(prompt.text.upper(), "stop", 10, len(prompt.text))


@pytest.fixture
def service(service: FakeService) -> FakeService:
    service.models = {name: Echo("") for name in ("a", "b", "t")}
    return service


async def test_choices_come_in_the_order_of_the_prompts(client: openai.AsyncOpenAI, service: FakeService) -> None:
    answer = await client.completions.create(model="default", prompt=PROMPTS, max_tokens=9)
    assert [(choice.index, choice.text) for choice in answer.choices] == [(0, "ONE"), (1, "TWO"), (2, "THREE")]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6 * 10, 2 * (3 + 3 + 5))
    records = answer.model_extra["cascade"]
    assert [record["models"]["a"]["completion_tokens"] for record in records] == [3, 3, 5]
    assert len(service.closings) == 3
    assert {prompt.sampling.max_tokens for prompt in service.models["a"].prompts} == {9}


async def test_each_may_have_several_answers(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model="t", prompt=["one", "two"], n=2)
    assert [(choice.index, choice.text) for choice in answer.choices] == [
        (0, "ONE"),
        (1, "ONE"),
        (2, "TWO"),
        (3, "TWO"),
    ]


async def test_a_list_of_one_is_one_prompt(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model="default", prompt=["one"])
    assert (answer.choices[0].text, answer.model_extra["cascade"]["answered_by"]) == ("ONE", "a")
    stream = await client.completions.create(model="default", prompt=["one"], stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "ONE"


async def test_one_that_fails_stops_the_others(http: httpx.AsyncClient, service: FakeService) -> None:
    response = await http.post("/v1/completions", json={"model": "t", "prompt": ["slow", "bad", "slow"]})
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")
    assert response.json()["cascade"]["models"]["t"]["status"] == "rate_limited"
    assert service.models["t"].stopped == 2
    assert [outcome is None for outcome in service.closings] == [True, False, True]


async def test_a_bug_stops_the_others_and_is_not_shown(http: httpx.AsyncClient, service: FakeService) -> None:
    response = await http.post("/v1/completions", json={"model": "t", "prompt": ["slow", "bug"]})
    assert response.status_code == 500
    assert "secret" not in response.text
    assert service.models["t"].stopped == 1
    assert service.closings == [None, None]


async def test_a_client_that_leaves_stops_all(client: openai.AsyncOpenAI, service: FakeService) -> None:
    request = asyncio.create_task(client.completions.create(model="t", prompt=["slow", "slow"]))
    await until(lambda: len(service.models["t"].prompts) == 2)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await until(lambda: len(service.closings) == 2)
    assert (service.models["t"].stopped, service.closings) == (2, [None, None])


async def test_their_conversation_is_recalled_once_before_any_is_opened(
    http: httpx.AsyncClient, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow look-up holds no places at models, and takes its time once."""
    recalls: list[tuple[str | None, int]] = []

    async def recall(ask: Ask) -> Ask:
        await asyncio.sleep(0)
        recalls.append((ask.options.session, len(service.runs)))
        return replace(ask, escalated=True)

    monkeypatch.setattr(service, "recall", recall)
    body = {"model": "default", "prompt": PROMPTS}
    response = await http.post("/v1/completions", json=body, headers={"x-session-id": "s"})
    assert [choice["text"] for choice in response.json()["choices"]] == ["ONE", "TWO", "THREE"]
    assert recalls == [("s", 0)]
    assert [run.escalated for run in service.runs] == [True, True, True]


async def test_what_the_service_refuses_is_refused_once(http: httpx.AsyncClient, service: FakeService) -> None:
    response = await http.post("/v1/completions", json={"model": "none", "prompt": PROMPTS})
    assert response.status_code == 404
    assert not service.closings


async def test_streams_have_one_prompt(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/completions", json={"model": "t", "prompt": PROMPTS, "stream": True})
    assert response.json()["error"]["message"] == "stream: not honoured with several prompts."


@pytest.mark.parametrize("prompt", [[], ["a", ""], [[1, 2]], [1, 2], ["a", 1], ["x"] * 17, "", {}, True])
async def test_other_prompts_are_refused(http: httpx.AsyncClient, prompt: Any) -> None:
    response = await http.post("/v1/completions", json={"model": "t", "prompt": prompt})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == "prompt"
    assert error["message"].startswith("prompt: must be one string or up to 16, none of them empty; token lists are")
