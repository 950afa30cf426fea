"""The official client against a real server: what it is given, plain and streaming."""

import asyncio
from typing import Any

import openai
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from serve_app.core.types.answer import Failure, FailureKind
from serve_app.errors import ContextTooLongError
from tests.api.serving import HANG, Breaks, FakeService, Scripted
from tests.patience import PATIENCE_S

ASK: Any = {"model": "default", "messages": [{"role": "user", "content": "Capital of France?"}]}
PROMPT: Any = {"model": "default", "prompt": "The capital of France is"}
USAGE: Any = {"include_usage": True}


async def chunks_of(client: openai.AsyncOpenAI, **fields: Any) -> list[ChatCompletionChunk]:
    stream = await client.chat.completions.create(**ASK, stream=True, **fields)
    chunks = [chunk async for chunk in stream]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.model_dump())  # the client itself does not validate
    return chunks


async def broken_off(client: openai.AsyncOpenAI) -> tuple[list[ChatCompletionChunk], openai.APIError]:
    """Return the chunks of a stream that ends in an error, and the error."""
    chunks: list[ChatCompletionChunk] = []
    try:
        async for chunk in await client.chat.completions.create(**ASK, stream=True):
            chunks.append(chunk)  # noqa: PERF401
    except openai.APIError as error:
        return chunks, error
    raise AssertionError("The stream ended well.")


def content(chunks: list[ChatCompletionChunk]) -> list[str]:
    return [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]


def extra(value: Any) -> Any:
    """Return the `cascade` object of a response or chunk."""
    return value.model_extra["cascade"]


class TestPlain:
    async def test_an_accepted_chat(self, client: openai.AsyncOpenAI, service: FakeService):
        answer = await client.chat.completions.create(**ASK)
        ChatCompletion.model_validate(answer.model_dump())
        [choice] = answer.choices
        assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "Paris", "stop")
        assert (answer.object, answer.model, answer.id[:9]) == ("chat.completion", "default", "chatcmpl-")
        record = extra(answer)
        assert (record["deferred"], record["answered_by"], record["reason"]) == (False, "a", "agreement")
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (20, 2, 22)
        assert not service.models["t"].prompts

    async def test_a_deferred_chat_counts_every_model(self, client: openai.AsyncOpenAI, service: FakeService):
        service.disagree()
        answer = await client.chat.completions.create(**ASK)
        assert answer.choices[0].message.content == "It is Paris."
        record = extra(answer)
        assert (record["deferred"], record["answered_by"]) == (True, "t")
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (30, 1 + 1 + 3)
        assert {name: model["completion_tokens"] for name, model in record["models"].items()} == {
            "a": 1,
            "b": 1,
            "t": 3,
        }
        assert record["tiers"][0]["similarities"] == [[1, 0.25], [0.25, 1]]

    async def test_headers_say_the_decision(self, client: openai.AsyncOpenAI, service: FakeService):
        service.disagree()
        raw = await client.chat.completions.with_raw_response.create(**ASK)
        shown = {name: value for name, value in raw.headers.items() if name.startswith("x-cascade")}
        assert shown == {
            "x-cascade-deferred": "true",
            "x-cascade-answered-by": "t",
            "x-cascade-agreement": "0.25",
        }

    async def test_a_single_model_has_no_agreement(self, client: openai.AsyncOpenAI):
        raw = await client.chat.completions.with_raw_response.create(**ASK | {"model": "t"})
        assert raw.headers["x-cascade-answered-by"] == "t"
        assert "x-cascade-agreement" not in raw.headers
        assert raw.parse().choices[0].message.content == "It is Paris."

    async def test_a_completion(self, client: openai.AsyncOpenAI, service: FakeService):
        answer = await client.completions.create(**PROMPT)
        Completion.model_validate(answer.model_dump())
        assert (answer.object, answer.choices[0].text, answer.id[:5]) == ("text_completion", "Paris", "cmpl-")
        assert extra(answer)["answered_by"] == "a"
        assert service.models["a"].prompts[0].text == PROMPT["prompt"]

    async def test_logprobs(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["a"].text = service.models["b"].text = "Paris é"
        answer = await client.chat.completions.create(**ASK, logprobs=True)
        logprobs = answer.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.content is not None
        assert [(item.token, item.logprob, item.bytes) for item in logprobs.content] == [
            ("Paris", -0.25, list(b"Paris")),
            ("é", -0.25, [0xC3, 0xA9]),
        ]
        assert [item.top_logprobs for item in logprobs.content] == [[], []]
        plain = await client.chat.completions.create(**ASK)
        assert plain.choices[0].logprobs is None

    async def test_top_logprobs(self, client: openai.AsyncOpenAI, service: FakeService):
        answer = await client.chat.completions.create(**ASK, logprobs=True, top_logprobs=2)
        [token] = answer.choices[0].logprobs.content
        assert [(item.token, item.logprob, item.bytes) for item in token.top_logprobs] == [
            ("other0", -2.0, list(b"other0")),
            ("other1", -3.0, list(b"other1")),
        ]

    async def test_an_answer_can_be_sent_back(self, client: openai.AsyncOpenAI, service: FakeService):
        answer = await client.chat.completions.create(**ASK)
        messages = [*ASK["messages"], answer.choices[0].message, {"role": "user", "content": "And of Italy?"}]
        await client.chat.completions.create(model="default", messages=messages)
        dumped = [messages[0], answer.choices[0].message.model_dump(), messages[2]]
        await client.chat.completions.create(model="default", messages=dumped)
        for prompt in service.models["a"].prompts[1:]:
            assert [(message.role, message.content) for message in prompt.messages] == [
                ("user", "Capital of France?"),
                ("assistant", "Paris"),
                ("user", "And of Italy?"),
            ]

    async def test_the_cascade_can_be_steered(self, client: openai.AsyncOpenAI):
        options = {"cascade": {"force": "defer", "include_answers": True}}
        answer = await client.chat.completions.create(**ASK, extra_body=options)
        assert extra(answer)["tiers"][0]["reason"] == "forced"
        assert [tier["answers"] for tier in extra(answer)["tiers"]] == [["Paris", "Paris"], ["It is Paris."]]

    async def test_a_cut_answer(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"].finish_reason = "length"
        answer = await client.chat.completions.create(**ASK | {"model": "t"}, max_tokens=3)
        assert answer.choices[0].finish_reason == "length"

    async def test_models(self, client: openai.AsyncOpenAI):
        listed = [model async for model in client.models.list()]
        assert [model.id for model in listed] == ["default", "a", "b", "t", "encoder"]
        card = await client.models.retrieve("default")
        assert (card.object, card.owned_by) == ("model", "semantic-cascade")
        type(card).model_validate(card.model_dump())
        with pytest.raises(openai.NotFoundError, match=r"Did you mean 'default'\?") as caught:
            await client.models.retrieve("defualt")
        assert caught.value.code == "model_not_found"


class TestStreams:
    async def test_an_accepted_chat(self, client: openai.AsyncOpenAI, service: FakeService):
        first, *middle, last = await chunks_of(client)
        assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
        assert content(middle) == ["Paris"]
        assert [chunk.choices[0].finish_reason for chunk in [first, *middle, last]] == [None, None, "stop"]
        assert extra(last)["answered_by"] == "a"
        assert all("cascade" not in (chunk.model_extra or {}) for chunk in [first, *middle])
        assert len({chunk.id for chunk in [first, *middle, last]}) == 1
        assert len(service.closings) == 1

    async def test_a_deferred_chat_streams_the_target(self, client: openai.AsyncOpenAI, service: FakeService):
        service.disagree()
        chunks = await chunks_of(client)
        assert content(chunks) == ["It", " is", " Paris."]
        assert extra(chunks[-1])["deferred"] is True

    async def test_usage_has_a_chunk_without_choices(self, client: openai.AsyncOpenAI):
        *chunks, last = await chunks_of(client, stream_options=USAGE)
        assert last.choices == []
        assert last.usage is not None
        assert last.usage.total_tokens == 22
        assert extra(last)["answered_by"] == "a"
        assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks)
        assert all("cascade" not in (chunk.model_extra or {}) for chunk in chunks)

    async def test_a_completion(self, client: openai.AsyncOpenAI, service: FakeService):
        service.disagree()
        stream = await client.completions.create(**PROMPT, stream=True, stream_options=USAGE)
        *texts, ending, last = [chunk async for chunk in stream]
        assert [chunk.choices[0].text for chunk in texts] == ["It", " is", " Paris."]
        assert (ending.choices[0].text, ending.choices[0].finish_reason) == ("", "stop")
        assert last.usage is not None
        assert last.usage.completion_tokens == 5
        assert extra(last)["answered_by"] == "t"

    async def test_the_target_may_be_replaced_before_it_said_a_word(
        self, client: openai.AsyncOpenAI, service: FakeService
    ):
        service.disagree()
        service.fallback = True
        service.models["t"].text = Failure("unavailable", "Away.")
        chunks = await chunks_of(client)
        assert content(chunks) == ["Paris"]
        assert extra(chunks[-1])["replaced"]["kind"] == "unavailable"


FAILURES = [
    (Failure("error", "It broke."), 502, "error"),
    (Failure("unavailable", "No replica."), 503, "unavailable"),
    (Failure("timeout", "No answer within 2 s."), 504, "timeout"),
    (Failure("context_length", str(ContextTooLongError(900, 512))), 400, "context_length_exceeded"),
]


class TestFailures:
    @pytest.mark.parametrize(("failure", "status", "code"), FAILURES)
    async def test_plain(self, client: openai.AsyncOpenAI, service: FakeService, failure, status, code):
        service.disagree()
        service.models["t"].text = failure
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(**ASK)
        error = caught.value
        assert (error.status_code, error.code) == (status, code)
        assert error.type == ("invalid_request_error" if status == 400 else "server_error")
        assert failure.message in error.message
        record = error.response.json()["cascade"]
        assert (record["answered_by"], record["models"]["t"]["status"]) == (None, failure.kind)
        assert error.response.headers["x-cascade-deferred"] == "true"
        assert "x-cascade-answered-by" not in error.response.headers
        assert len(service.closings) == 1

    @pytest.mark.parametrize(("kind", "requests"), [("unavailable", 2), ("timeout", 1)])
    async def test_what_took_its_whole_time_is_not_asked_again(
        self, client: openai.AsyncOpenAI, service: FakeService, kind: FailureKind, requests: int
    ):
        service.models["t"].text = Failure(kind, "Nothing came.")
        with pytest.raises(openai.InternalServerError):
            await client.with_options(max_retries=1).chat.completions.create(**ASK | {"model": "t"})
        assert len(service.closings) == requests

    @pytest.mark.parametrize(("failure", "status", "code"), FAILURES)
    async def test_after_a_stream_opened(self, client: openai.AsyncOpenAI, service: FakeService, failure, status, code):
        service.disagree()
        service.stream_open_s = 0
        service.models["t"].text = failure
        service.models["t"].delay_s = 0.1
        chunks, error = await broken_off(client)
        assert error.code == code
        assert failure.message in error.message
        assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant"]
        assert len(service.closings) == 1

    @pytest.mark.parametrize("end", [Failure("error", "It broke."), RuntimeError("secret")])
    async def test_in_the_middle_of_a_stream(self, client: openai.AsyncOpenAI, service: FakeService, end):
        service.disagree()
        service.models["t"] = Breaks(end)
        chunks, error = await broken_off(client)
        assert content(chunks) == ["The"]
        assert error.type == "server_error"
        assert "secret" not in str(error.body)
        await asyncio.wait_for(service.closed.wait(), PATIENCE_S)
        assert len(service.closings) == 1

    async def test_both_lengths_are_said(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"].text = Failure("context_length", str(ContextTooLongError(900, 512)))
        with pytest.raises(openai.BadRequestError, match=r"900 tokens.* 512") as chat:
            await client.chat.completions.create(**ASK | {"model": "t"})
        with pytest.raises(openai.BadRequestError) as text:
            await client.completions.create(**PROMPT | {"model": "t"})
        assert (chat.value.param, text.value.param) == ("messages", "prompt")

    async def test_unknown_model(self, client: openai.AsyncOpenAI):
        for stream in (False, True):
            with pytest.raises(openai.NotFoundError, match=r"Did you mean 'default'\? Available: a, b") as caught:
                await client.chat.completions.create(**ASK | {"model": "defualt"}, stream=stream)
            assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


class TestClientLeaves:
    async def test_before_a_plain_answer(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models |= {name: Scripted("Paris", delay_s=HANG) for name in ("a", "b")}
        asking = asyncio.create_task(client.chat.completions.create(**ASK))
        await self.leave(asking, service, "a", "b")

    async def test_the_target_of_a_plain_answer(self, client: openai.AsyncOpenAI, service: FakeService):
        service.disagree()
        service.models["t"].delay_s = HANG
        asking = asyncio.create_task(client.completions.create(**PROMPT))
        await self.leave(asking, service, "t")

    async def test_a_stream_while_the_members_work(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models |= {name: Scripted("Paris", delay_s=HANG) for name in ("a", "b")}
        await self.leave(asyncio.create_task(chunks_of(client)), service, "a", "b")

    async def test_a_stream_before_the_targets_first_token(self, client: openai.AsyncOpenAI, service: FakeService):
        service.disagree()
        service.models["t"].delay_s = HANG
        await self.leave(asyncio.create_task(chunks_of(client)), service, "t")

    async def test_a_stream_after_the_targets_first_token(self, client: openai.AsyncOpenAI, service: FakeService):
        service.disagree()
        service.models["t"].pause_s = HANG
        stream = await client.chat.completions.create(**ASK, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
        await self.settled(service, "t")
        assert service.runs[0].calls[-1].answer.completion_tokens == 1

    async def leave(self, asking: asyncio.Task[Any], service: FakeService, *names: str) -> None:
        for name in names:
            await asyncio.wait_for(service.models[name].entered.wait(), PATIENCE_S)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await self.settled(service, *names)

    async def settled(self, service: FakeService, *names: str) -> None:
        await asyncio.wait_for(service.closed.wait(), PATIENCE_S)
        assert service.closings == [None]
        assert [service.models[name].stopped for name in names] == [1] * len(names)
        cancelled = [call.model for call in service.runs[0].calls if isinstance(call.answer, Failure)]
        assert sorted(cancelled) == sorted(names)
