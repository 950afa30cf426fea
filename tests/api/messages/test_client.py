"""The official client against a real server: messages, streams, tools over two turns, counts, models."""

import asyncio
from typing import Any

import anthropic
import pytest
from anthropic.types import Message

from serve_app.core.tools import NamedTool
from serve_app.core.types.prompt import Message as Said
from serve_app.core.types.prompt import ToolCall
from tests.api.serving import FakeService, Scripted

from .asking import ASK, CLOCK, PARIS, ROME, USER, WEATHER, returned


async def plain(claude: anthropic.AsyncAnthropic, **fields: Any) -> Message:
    message = await claude.messages.create(**ASK | fields)
    return Message.model_validate(message.model_dump(), strict=True)  # the client itself does not validate


async def streamed(claude: anthropic.AsyncAnthropic, **fields: Any) -> tuple[Message, list[Any]]:
    """Return what the client's own accumulator makes of a stream, and the events."""
    async with claude.messages.stream(**ASK | fields) as stream:
        events = [event async for event in stream]
        return Message.model_validate((await stream.get_final_message()).model_dump()), events


def cascade(value: Any) -> dict[str, Any]:
    record = value.cascade
    assert isinstance(record, dict)
    return record


class TestPlain:
    async def test_an_accepted_answer(self, claude: anthropic.AsyncAnthropic, service: FakeService):
        message = await plain(claude)
        assert [block.model_dump(exclude_none=True) for block in message.content] == [{"type": "text", "text": "Paris"}]
        assert (message.id[:4], message.type, message.role, message.model) == (
            "msg_",
            "message",
            "assistant",
            "default",
        )
        assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
        assert (message.usage.input_tokens, message.usage.output_tokens) == (20, 2)
        record = cascade(message)
        assert (record["deferred"], record["answered_by"]) == (False, "a")
        assert not service.models["t"].prompts

    async def test_a_deferred_answer(self, claude: anthropic.AsyncAnthropic, service: FakeService):
        service.disagree()
        raw = await claude.messages.with_raw_response.create(**ASK)
        message = await raw.parse()
        assert message.content[0].text == "It is Paris."
        assert cascade(message)["answered_by"] == "t"
        assert raw.headers["x-cascade-deferred"] == "true"
        assert message.usage.input_tokens == 30

    async def test_the_request_decides_how(self, claude: anthropic.AsyncAnthropic):
        options = {"cascade": {"force": "defer", "include_answers": True}}
        message = await claude.messages.create(**ASK, extra_body=options)
        record = cascade(message)
        assert (record["reason"], record["answered_by"]) == ("forced", "t")
        assert record["tiers"][0]["answers"] == ["Paris", "Paris"]

    @pytest.mark.parametrize(("reason", "expected"), [("stop", "end_turn"), ("length", "max_tokens")])
    async def test_why_it_stopped(self, claude, service: FakeService, reason: str, expected: str):
        service.models["t"] = Scripted("Paris", finish_reason=reason)
        assert (await plain(claude, model="t", stop_sequences=["."])).stop_reason == expected

    async def test_thinking_comes_before_the_text(self, claude, service: FakeService):
        service.models["t"] = Scripted("Paris", reasoning="Let me see.")
        message = await plain(claude, model="t")
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert (message.content[0].thinking, message.content[0].signature) == ("Let me see.", "")
        assert message.usage.output_tokens_details.thinking_tokens == 3
        hidden = await plain(claude, model="t", thinking={"type": "adaptive", "display": "omitted"})
        assert [block.type for block in hidden.content] == ["text"]


class TestStreamed:
    """The client puts the same message together from a stream, whichever model answered, and whatever the answer is."""

    @pytest.mark.parametrize("model", ["default", "t"])
    @pytest.mark.parametrize("agree", [True, False])
    @pytest.mark.parametrize(
        "answer",
        [
            Scripted("It is Paris."),
            Scripted(""),
            Scripted("cut at", finish_reason="length"),
            Scripted("one\n\ntwo\r\u2028three\x00"),
            Scripted("", tool_calls=(PARIS,)),
            Scripted("I will look it up.", tool_calls=(PARIS, ROME)),
            Scripted("", tool_calls=(ToolCall("c", "get_weather", ""),)),
            Scripted("", tool_calls=(ToolCall("c", "get_weather", '{"city": "Par'),), finish_reason="length"),
            Scripted("", tool_calls=(ToolCall("c", "get_weather", '{"city": "\\ud83d"}'),)),
            Scripted("", tool_calls=(ToolCall("c", "get_weather", '{"x": 1e400, "x": [[]]}'),)),
            Scripted("It is Paris.", reasoning="Let me see."),
            Scripted("", reasoning="Let me see.", tool_calls=(PARIS,)),
        ],
        ids=lambda answer: f"{answer.reasoning} {answer.text} {[call.arguments for call in answer.tool_calls]}",
    )
    async def test_is_the_plain_message(self, claude, service: FakeService, model: str, agree: bool, answer: Scripted):
        service.models = dict.fromkeys(("a", "b", "t"), answer)
        if not agree:
            service.models["b"] = Scripted("Rome")
        whole = await plain(claude, model=model)
        message, events = await streamed(claude, model=model)
        assert message.model_dump(exclude={"id", "cascade"}) == whole.model_dump(exclude={"id", "cascade"})
        assert [event.type for event in events if event.type.startswith("message")] == [
            "message_start",
            "message_delta",
            "message_stop",
        ]
        assert cascade(events[-2])["answered_by"] == cascade(whole)["answered_by"]

    async def test_the_events(self, claude, service: FakeService):
        service.models["t"] = Scripted("It is", reasoning="Let me see.", tool_calls=(PARIS,))
        stream = await claude.messages.create(**ASK | {"model": "t", "stream": True})
        events = [event async for event in stream]
        assert [(event.type, getattr(event, "index", None)) for event in events] == [
            ("message_start", None),
            ("content_block_start", 0),
            ("content_block_delta", 0),
            ("content_block_stop", 0),
            ("content_block_start", 1),
            ("content_block_delta", 1),
            ("content_block_delta", 1),
            ("content_block_stop", 1),
            ("content_block_start", 2),
            ("content_block_delta", 2),
            ("content_block_stop", 2),
            ("message_delta", None),
            ("message_stop", None),
        ]
        deltas = [event.delta.type for event in events if event.type == "content_block_delta"]
        assert deltas == ["thinking_delta"] + ["text_delta"] * 2 + ["input_json_delta"]
        for event in events:
            type(event).model_validate(event.model_dump())
        assert events[-2].delta.stop_reason == "tool_use"

    async def test_text_comes_as_it_is_written(self, claude, service: FakeService):
        service.models["t"] = Scripted("one two", pause_s=0.2)
        async with claude.messages.stream(**ASK | {"model": "t"}) as stream:
            texts = [(piece, asyncio.get_running_loop().time()) async for piece in stream.text_stream]
        assert [piece for piece, _ in texts] == ["one", " two"]
        assert texts[1][1] - texts[0][1] > 0.1


class TestTools:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_two_turns(self, claude, service: FakeService, stream: bool):
        for name in ("a", "b"):
            service.models[name] = Scripted("I will look.", tool_calls=(PARIS, ROME))
        fields = {"tools": [WEATHER], "system": "Be brief."}
        message = (await streamed(claude, **fields))[0] if stream else await plain(claude, **fields)
        assert message.stop_reason == "tool_use"
        calls = [block for block in message.content if block.type == "tool_use"]
        assert [(call.id, call.name, call.input) for call in calls] == [
            ("call_1", "get_weather", {"city": "Paris"}),
            ("call_2", "get_weather", {"city": "Rome"}),
        ]
        results: Any = [returned(call.id, f"18 degrees in {call.input['city']}") for call in calls]
        turns = [USER, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
        for name in ("a", "b"):
            service.models[name] = Scripted("18 degrees")
        answer = await plain(claude, **fields, messages=turns)
        assert (answer.content[0].text, answer.stop_reason) == ("18 degrees", "end_turn")
        assert service.models["a"].prompts[0].messages == (
            Said("system", "Be brief."),
            Said("user", "Weather in Paris?"),
            Said("assistant", "I will look.", (PARIS, ROME)),
            Said("tool", "18 degrees in Paris", tool_call_id="call_1"),
            Said("tool", "18 degrees in Rome", tool_call_id="call_2"),
        )

    @pytest.mark.parametrize(
        ("choice", "expected", "parallel"),
        [
            (None, None, True),
            ({"type": "auto"}, "auto", True),
            ({"type": "any", "disable_parallel_tool_use": True}, "required", False),
            ({"type": "tool", "name": "get_time"}, NamedTool("get_time"), True),
        ],
    )
    async def test_choices(self, claude, service: FakeService, choice: Any, expected: Any, parallel: bool):
        fields = {} if choice is None else {"tool_choice": choice}
        await plain(claude, tools=[WEATHER, CLOCK], **fields)
        prompt = service.models["a"].prompts[0]
        assert [tool.name for tool in prompt.tools] == ["get_weather", "get_time"]
        assert prompt.tools[0].parameters == WEATHER["input_schema"]
        assert (prompt.tool_choice, prompt.parallel_tool_calls) == (expected, parallel)

    async def test_none_shows_no_tools(self, claude, service: FakeService):
        await plain(claude, tools=[WEATHER], tool_choice={"type": "none"})
        prompt = service.models["a"].prompts[0]
        assert (prompt.tools, prompt.tool_choice) == ((), None)


async def test_structured_output(claude: anthropic.AsyncAnthropic, service: FakeService):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
    service.models["t"] = Scripted('{"city": "Paris"}')
    form: Any = {"format": {"type": "json_schema", "schema": schema}}
    message = await claude.messages.create(**ASK | {"model": "t"}, output_config=form)
    assert message.content[0].text == '{"city": "Paris"}'
    form = service.models["t"].prompts[0].response_format
    assert form.schema == schema


async def test_count_tokens_asks_no_model(claude: anthropic.AsyncAnthropic, service: FakeService):
    async def count(**fields: Any) -> int:
        counted = await claude.messages.count_tokens(model="default", **{"messages": [USER]} | fields)
        return counted.input_tokens

    fewest = await count()
    assert 0 < fewest < await count(system="Be brief.") < await count(system="Be brief.", tools=[WEATHER])
    assert await count(tools=[WEATHER], tool_choice={"type": "none"}) == fewest
    assert not service.runs
    with pytest.raises(anthropic.NotFoundError, match="There is no model 'x'"):
        await claude.messages.count_tokens(model="x", messages=[USER])


async def test_models(claude: anthropic.AsyncAnthropic):
    models = [model async for model in claude.models.list()]
    assert [model.id for model in models] == ["default", "a", "b", "t"]
    target = await claude.models.retrieve("t")
    assert type(target).model_validate(target.model_dump()) == models[-1]
    with pytest.raises(anthropic.NotFoundError) as caught:
        await claude.models.retrieve("x")
    assert caught.value.type == "not_found_error"
