"""`n`: several answers of the model whose answer is returned."""

import json
from typing import Any

import httpx
import openai
import pytest

from serve_app.core.types.answer import Answer, Failure, Generation
from serve_app.core.types.prompt import Prompt, ToolCall
from tests.api.serving import HANG, FakeService, Scripted, until

ASK: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": "Capital of France?"}], "n": 3}


class Numbered(Scripted):
    """Writes the number of the call after each of its answers; fails at some number."""

    fails_at = 0

    async def generate(self, prompt: Prompt) -> Answer:
        self.number = getattr(self, "number", 0) + 1
        number = self.number
        if number == self.fails_at:
            return Failure("error", "The model broke.", 10, 0)
        answer = await super().generate(prompt)
        assert isinstance(answer, Generation)
        return Generation(f"{answer.text} {number}", *_other_fields(answer))


def _other_fields(answer: Generation) -> tuple[Any, ...]:
    return (
        answer.finish_reason,
        answer.prompt_tokens,
        answer.completion_tokens,
        answer.logprobs,
        answer.latency_s,
        answer.first_token_s,
        answer.tool_calls,
    )


@pytest.fixture
def service(service: FakeService) -> FakeService:
    service.models["t"] = Numbered("It is Paris.")
    service.disagree()
    return service


async def test_plain_choices_come_in_order(client: openai.AsyncOpenAI, service: FakeService) -> None:
    answer = await client.chat.completions.create(**ASK, seed=5, logprobs=True)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [choice.message.content for choice in answer.choices] == [f"It is Paris. {number}" for number in (1, 2, 3)]
    assert all(choice.logprobs and choice.logprobs.content for choice in answer.choices)
    record = answer.model_extra["cascade"]
    assert (record["answered_by"], record["models"]["t"]["calls"]) == ("t", 3)
    assert "calls" not in record["models"]["a"]
    assert answer.usage.prompt_tokens == 5 * 10
    assert [prompt.sampling.seed for prompt in service.models["t"].prompts] == [5, 6, 7]


async def test_raw_prompts_have_choices_too(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model="default", prompt="France:", n=2)
    assert [(choice.index, choice.text) for choice in answer.choices] == [(0, "It is Paris. 1"), (1, "It is Paris. 2")]
    stream = await client.completions.create(model="default", prompt="France:", n=2, stream=True)
    pieces = ["", ""]
    async for chunk in stream:
        pieces[chunk.choices[0].index] += chunk.choices[0].text
    assert pieces == ["It is Paris. 3", "It is Paris. 4"]


@pytest.mark.parametrize("usage", [False, True])
async def test_streamed_choices_follow_the_first_whole(client: openai.AsyncOpenAI, usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    stream = await client.chat.completions.create(**ASK, stream=True, **options)
    chunks = [chunk async for chunk in stream]
    by_index: dict[int, list[Any]] = {0: [], 1: [], 2: []}
    for chunk in chunks:
        for choice in chunk.choices:
            by_index[choice.index].append(choice)
    for index, choices in by_index.items():
        assert "".join(choice.delta.content or "" for choice in choices) == f"It is Paris. {index + 1}"
        assert choices[0].delta.role == "assistant"
        assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    assert len(by_index[1]) == len(by_index[2]) == 2, "the text in one piece, then the finish reason"
    assert chunks[-1].model_extra["cascade"]["models"]["t"]["calls"] == 3
    assert bool(chunks[-1].choices) is not usage


async def test_streamed_choices_with_calls(client: openai.AsyncOpenAI, service: FakeService) -> None:
    service.models["t"] = Scripted("", tool_calls=(ToolCall("c1", "f", "{}"),))
    tools = [{"type": "function", "function": {"name": "f"}}]
    stream = await client.chat.completions.create(**ASK | {"n": 2}, stream=True, tools=tools)
    called = [
        (choice.index, call.function.name)
        async for chunk in stream
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
    ]
    assert called == [(0, "f"), (1, "f")]


async def test_one_that_fails_fails_the_request(http: httpx.AsyncClient, service: FakeService) -> None:
    service.models["t"].fails_at = 2
    response = await http.post("/v1/chat/completions", json=ASK)
    assert response.status_code == 502
    body = response.json()
    assert body["error"]["message"] == "The model 't' failed: The model broke."
    assert (body["cascade"]["answered_by"], body["cascade"]["models"]["t"]["status"]) == (None, "error")


async def test_in_a_stream_the_failure_follows_the_first(http: httpx.AsyncClient, service: FakeService) -> None:
    service.models["t"].fails_at = 2
    response = await http.post("/v1/chat/completions", json=ASK | {"stream": True})
    *_, last = response.text.strip().split("\n\n")
    name, data = last.split("\n")
    assert (response.status_code, name) == (200, "event: error")
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == "error"
    assert "Paris." in response.text


async def test_a_client_that_leaves_stops_them(client: openai.AsyncOpenAI, service: FakeService) -> None:
    class Slow(Numbered):
        async def generate(self, prompt: Prompt) -> Answer:
            self.delay_s = HANG if self.prompts else 0.0
            return await super().generate(prompt)

    target = service.models["t"] = Slow("Paris")
    stream = await client.chat.completions.create(**ASK, stream=True)
    await anext(stream)
    await until(lambda: len(target.prompts) == 3)
    await stream.close()
    await until(lambda: target.stopped == 2)
    await service.closed.wait()
    assert service.closings == [None]
    assert [call.model for call in service.runs[0].calls] == ["a", "b", "t", "t", "t"]


@pytest.mark.parametrize("n", [0, 9, -1, "2", 1.5, True])
async def test_other_numbers_are_refused(http: httpx.AsyncClient, n: Any) -> None:
    response = await http.post("/v1/chat/completions", json=ASK | {"n": n})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "n"
