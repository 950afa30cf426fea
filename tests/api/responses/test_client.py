"""The official client's `responses` against a real server: plain, streamed, tools, structured output, errors."""

import json
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseFunctionToolCall, ResponseReasoningItem
from pydantic import BaseModel

from serve_app.core.tools import AnswerSchema, NamedTool, Tool
from serve_app.core.types.answer import Failure
from serve_app.core.types.prompt import Message, ToolCall
from tests.api.serving import Breaks, FakeService, Scripted

ASK: dict[str, Any] = {"model": "default", "input": "Capital of France?"}
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": PARAMETERS,
    "strict": True,
}
PARIS = ToolCall("call_1", "get_weather", '{"city": "Paris"}')
ROME = ToolCall("call_2", "get_weather", '{"city": "Rome"}')


class City(BaseModel):
    name: str
    country: str


def valid(response: Response) -> Response:
    """Return the response after checking each field's type against the client's own model."""
    return Response.model_validate(response.to_dict())


async def events_of(client: openai.AsyncOpenAI, **fields: Any) -> list[Any]:
    stream = await client.responses.create(**ASK | fields, stream=True)
    return [event async for event in stream]


def kinds(events: list[Any]) -> list[str]:
    return [event.type for event in events]


class TestPlain:
    async def test_an_accepted_answer(self, client: openai.AsyncOpenAI, service: FakeService):
        raw = await client.responses.with_raw_response.create(**ASK, instructions="Be brief.")
        response = valid(raw.parse())
        assert (response.output_text, response.status, response.error) == ("Paris", "completed", None)
        assert (response.model, response.instructions) == ("default", "Be brief.")
        assert response.model_extra["cascade"]["answered_by"] == raw.headers["x-cascade-answered-by"] == "a"
        assert raw.headers["x-cascade-deferred"] == "false"
        assert service.models["a"].prompts[0].messages == (
            Message("system", "Be brief."),
            Message("user", "Capital of France?"),
        )

    async def test_a_deferred_answer_looks_the_same(self, client: openai.AsyncOpenAI, service: FakeService):
        accepted = await client.responses.create(**ASK)
        service.disagree()
        deferred = valid(await client.responses.create(**ASK))
        assert deferred.output_text == "It is Paris."
        assert deferred.model_extra["cascade"]["deferred"] is True
        assert set(deferred.model_dump()) == set(accepted.model_dump())
        assert [item.type for item in deferred.output] == [item.type for item in accepted.output]

    async def test_usage_is_that_of_all_models(self, client: openai.AsyncOpenAI, service: FakeService):
        service.disagree()
        service.models["t"] = Scripted("It is Paris.", reasoning="Let me think.")
        usage = (await client.responses.create(**ASK)).usage
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (30, 5, 35)
        assert usage.output_tokens_details.reasoning_tokens == 3

    async def test_reasoning_is_an_item_before_the_message(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"] = Scripted("It is Paris.", reasoning="France, so Paris.")
        response = valid(await client.responses.create(**ASK | {"model": "t"}))
        reasoning, message = response.output
        assert isinstance(reasoning, ResponseReasoningItem)
        assert [(part.type, part.text) for part in reasoning.content or []] == [("reasoning_text", "France, so Paris.")]
        assert (message.type, response.output_text) == ("message", "It is Paris.")

    async def test_an_answer_that_was_cut_is_incomplete(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"] = Scripted("It is", finish_reason="length")
        response = valid(await client.responses.create(**ASK | {"model": "t"}, max_output_tokens=2))
        assert (response.status, response.output[-1].status) == ("incomplete", "incomplete")
        assert response.incomplete_details is not None
        assert response.incomplete_details.reason == "max_output_tokens"
        assert service.models["t"].prompts[0].sampling.max_tokens == 2

    async def test_log_probabilities(self, client: openai.AsyncOpenAI):
        response = valid(await client.responses.create(**ASK, include=["message.output_text.logprobs"]))
        [token] = response.output[0].content[0].logprobs
        assert (token.token, token.logprob, token.bytes) == ("Paris", -0.25, list(b"Paris"))

    async def test_it_is_decided_as_the_request_says(self, client: openai.AsyncOpenAI, service: FakeService):
        service.disagree()
        body = {"cascade": {"force": "accept", "include_answers": True}}
        record = (await client.responses.create(**ASK, extra_body=body)).model_extra["cascade"]
        assert (record["deferred"], record["reason"]) == (False, "forced")
        assert record["tiers"][0]["answers"] == ["Paris", "Rome"]


class TestStreams:
    async def test_the_events_in_their_order(self, client: openai.AsyncOpenAI, service: FakeService):
        service.disagree()
        service.models["t"] = Scripted("It is", reasoning="Hm.", tool_calls=(PARIS,))
        events = await events_of(client, tools=[WEATHER])
        assert kinds(events) == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.reasoning_text.delta",
            "response.reasoning_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        for event in events:
            type(event).model_validate(event.to_dict())
        assert [event.output_index for event in events if event.type == "response.output_item.done"] == [0, 1, 2]
        completed = valid(events[-1].response)
        assert completed.model_extra["cascade"]["answered_by"] == "t"
        assert completed.output == [event.item for event in events if event.type == "response.output_item.done"]
        assert completed.usage is not None
        assert completed.usage.output_tokens_details.reasoning_tokens == 1

    async def test_the_wire_has_names_and_no_end_mark(self, http: httpx.AsyncClient):
        response = await http.post("/v1/responses", json=ASK | {"stream": True})
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        *events, tail = response.text.split("\n\n")
        assert tail == ""
        for event in events:
            name, data = event.split("\n")
            assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"

    @pytest.mark.parametrize(
        "answer",
        [
            Scripted("It is Paris."),
            Scripted(""),
            Scripted("It is Paris.", reasoning="Hm, France."),
            Scripted("", tool_calls=(PARIS, ROME)),
            Scripted("Let me look.", tool_calls=(PARIS,), reasoning="Hm."),
            Scripted("", tool_calls=(ToolCall("1", "get_weather", ""),)),
            Scripted("It is", finish_reason="length"),
            Scripted("", finish_reason="length", reasoning="Hm, Fr"),
        ],
    )
    async def test_a_stream_ends_in_the_plain_response(
        self, client: openai.AsyncOpenAI, service: FakeService, answer: Scripted
    ):
        service.models["t"] = answer
        fields = {"model": "t", "tools": [WEATHER]}
        plain = await client.responses.create(**ASK | fields)
        last = (await events_of(client, **fields))[-1]
        assert last.type == f"response.{plain.status}"
        assert same(last.response) == same(plain)

    async def test_the_clients_accumulator(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"] = Scripted("Let me look.", reasoning="Hm.", tool_calls=(PARIS, ROME))
        async with client.responses.stream(**ASK | {"model": "t"}, tools=[WEATHER]) as stream:
            snapshots = [event.snapshot async for event in stream if event.type == "response.output_text.delta"]
            final = await stream.get_final_response()
        assert snapshots == ["Let", "Let me", "Let me look."]
        assert final.output_text == "Let me look."
        calls = [item for item in final.output if item.type == "function_call"]
        assert [call.parsed_arguments for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]

    async def test_an_accepted_answer_is_streamed(self, client: openai.AsyncOpenAI):
        async with client.responses.stream(**ASK) as stream:
            final = await stream.get_final_response()
        assert final.output_text == "Paris"
        assert final.model_extra["cascade"]["deferred"] is False

    async def test_a_failure_before_any_text_has_its_status(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"] = Scripted(Failure("context_length", "Too long."))
        with pytest.raises(openai.BadRequestError) as caught:
            await events_of(client, model="t")
        assert (caught.value.param, caught.value.code) == ("input", "context_length_exceeded")

    async def test_a_failure_after_text_is_a_failed_response(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"] = Breaks(Failure("unavailable", "Away."))
        last = (await events_of(client, model="t"))[-1]
        assert last.type == "response.failed"
        failed = valid(last.response)
        assert failed.status == "failed"
        assert failed.error is not None
        assert (failed.error.code, failed.error.message) == ("server_error", "The model 't' failed: Away.")
        assert failed.model_extra["cascade"]["models"]["t"]["status"] == "unavailable"

    async def test_a_bug_after_text_is_an_error_event(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"] = Breaks(RuntimeError("secret"))
        last = (await events_of(client, model="t"))[-1]
        assert (last.type, last.code) == ("error", "server_error")
        assert "secret" not in last.message


def same(response: Response) -> Any:
    """Return the part that two answers to the same request share: all but ids and times."""
    body = response.model_dump(exclude={"id", "created_at", "completed_at", "cascade"})
    for item in body["output"]:
        del item["id"]
    return body


class TestTools:
    async def test_over_two_turns(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"] = Scripted("Let me look.", reasoning="Hm.", tool_calls=(PARIS, ROME))
        conversation: list[Any] = [{"role": "user", "content": "Weather in Paris and Rome?"}]
        first = valid(await client.responses.create(model="t", input=conversation, tools=[WEATHER]))
        calls = [item for item in first.output if isinstance(item, ResponseFunctionToolCall)]
        assert [(call.call_id, call.name, json.loads(call.arguments)) for call in calls] == [
            ("call_1", "get_weather", {"city": "Paris"}),
            ("call_2", "get_weather", {"city": "Rome"}),
        ]
        conversation += first.output
        conversation += [
            {"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"} for call in calls
        ]
        service.models["t"] = Scripted("Mild.")
        second = await client.responses.create(model="t", input=conversation, tools=[WEATHER])
        assert second.output_text == "Mild."
        assert service.models["t"].prompts[0].messages == (
            Message("user", "Weather in Paris and Rome?"),
            Message("assistant", "Let me look.", (PARIS, ROME)),
            Message("tool", "18 degrees", tool_call_id="call_1"),
            Message("tool", "18 degrees", tool_call_id="call_2"),
        )

    @pytest.mark.parametrize(
        ("choice", "expected"),
        [
            ("auto", "auto"),
            ("required", "required"),
            ({"type": "function", "name": "get_weather"}, NamedTool("get_weather")),
        ],
    )
    async def test_reach_the_models(self, client: openai.AsyncOpenAI, service: FakeService, choice: Any, expected: Any):
        response = valid(
            await client.responses.create(**ASK, tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False)
        )
        prompt = service.models["a"].prompts[0]
        assert prompt.tools == (Tool("get_weather", "The weather in a city.", PARAMETERS, True),)
        assert (prompt.tool_choice, prompt.parallel_tool_calls) == (expected, False)
        assert response.model_dump(exclude_none=True)["tool_choice"] == choice
        assert response.tools[0].model_dump(exclude_none=True) == WEATHER

    async def test_that_must_not_be_called_are_not_shown(self, client: openai.AsyncOpenAI, service: FakeService):
        await client.responses.create(**ASK, tools=[WEATHER], tool_choice="none")
        assert service.models["a"].prompts[0].tools == ()


class TestStructuredOutput:
    async def test_parse(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"] = Scripted('{"name":"Paris","country":"France"}')
        response = await client.responses.parse(model="t", input="Where?", text_format=City)
        assert response.output_parsed == City(name="Paris", country="France")
        form = service.models["t"].prompts[0].response_format
        assert isinstance(form, AnswerSchema)
        assert (form.name, form.strict) == ("City", True)
        assert set(form.schema["properties"]) == {"name", "country"}

    async def test_parse_streamed(self, client: openai.AsyncOpenAI, service: FakeService):
        service.models["t"] = Scripted('{"name":"Paris","country":"France"}')
        async with client.responses.stream(model="t", input="Where?", text_format=City) as stream:
            assert (await stream.get_final_response()).output_parsed == City(name="Paris", country="France")

    async def test_any_object(self, client: openai.AsyncOpenAI, service: FakeService):
        await client.responses.create(**ASK, text={"format": {"type": "json_object"}})
        await client.responses.create(**ASK, text={"format": {"type": "text"}, "verbosity": "medium"})
        assert [prompt.response_format for prompt in service.models["a"].prompts] == ["json_object", None]


class TestErrors:
    async def test_of_a_model_that_cannot(self, client: openai.AsyncOpenAI, service: FakeService):
        reason = "response_format.json_schema.schema: the JSON schema cannot be enforced: not."
        service.models["t"] = Scripted(Failure("refused", reason, param="response_format.json_schema.schema"))
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(**ASK | {"model": "t"})
        assert (caught.value.param, caught.value.code) == ("text.format", "unsupported")
        assert "honour the request: text.format: the JSON schema cannot be" in caught.value.message
        assert caught.value.response.json()["cascade"]["answered_by"] is None

    async def test_of_an_unknown_model(self, client: openai.AsyncOpenAI):
        with pytest.raises(openai.NotFoundError, match="Did you mean 'default'") as caught:
            await client.responses.create(**ASK | {"model": "defualt"})
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")

    @pytest.mark.parametrize(
        ("failure", "error"),
        [
            (Failure("rate_limited", "Later.", retry_after_s=2.5), openai.RateLimitError),
            (Failure("timeout", "Late."), openai.InternalServerError),
            (Failure("error", "Broken."), openai.InternalServerError),
        ],
    )
    async def test_of_a_failed_target(
        self, client: openai.AsyncOpenAI, service: FakeService, failure: Failure, error: type[openai.APIStatusError]
    ):
        service.models["t"] = Scripted(failure)
        with pytest.raises(error, match=failure.message) as caught:
            await client.responses.create(**ASK | {"model": "t"})
        assert caught.value.code == failure.kind
