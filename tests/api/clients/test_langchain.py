"""LangChain's client against a real server: invoke, stream, tools in two steps, structured output, errors."""

from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from serve_app.core.types.answer import Failure, FailureKind
from serve_app.core.types.prompt import ToolCall
from tests.api.serving import Breaks, FakeService, Scripted
from tests.patience import PATIENCE_S

from .tool_loop import let_call


class Person(BaseModel):
    """A person."""

    name: str
    age: int


BOB = '{"name": "Bob", "age": 5}'


@tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"18 degrees in {city}"


@pytest.fixture
def chat(url: str) -> ChatOpenAI:
    return ChatOpenAI(model="default", base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=PATIENCE_S)


def says(service: FakeService, text: str, **how: Any) -> None:
    service.models["a"], service.models["b"] = Scripted(text, **how), Scripted(text, **how)


async def test_invoke(chat: ChatOpenAI, service: FakeService):
    answer = await chat.bind(temperature=0.5, stop=["\n"], seed=3).ainvoke("Capital of France?")
    assert isinstance(answer, AIMessage)
    assert answer.content == "Paris"
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata is not None
    assert (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]) == (20, 2)
    sampling = service.models["a"].prompts[0].sampling
    assert (sampling.temperature, sampling.stop, sampling.seed) == (0.5, ("\n",), 3)


async def test_a_conversation_goes_on(chat: ChatOpenAI, service: FakeService):
    messages: list[BaseMessage] = [HumanMessage("Capital of France?")]
    messages.append(await chat.ainvoke(messages))
    messages.append(HumanMessage("And of Italy?", name="Ann"))
    await chat.ainvoke(messages)
    assert [message.content for message in service.models["a"].prompts[1].messages] == [
        "Capital of France?",
        "Paris",
        "And of Italy?",
    ]


async def test_stream(chat: ChatOpenAI, service: FakeService):
    service.disagree()
    chunks = [chunk async for chunk in chat.astream("Capital of France?", stream_usage=True)]
    assert [chunk.content for chunk in chunks if chunk.content] == ["It", " is", " Paris."]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert isinstance(whole, AIMessageChunk)
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == 5
    assert whole.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_in_two_steps(chat: ChatOpenAI, service: FakeService, streamed: bool):
    let_call(service)
    agent = chat.bind_tools([get_weather])

    async def ask(messages: list[BaseMessage]) -> AIMessage:
        if not streamed:
            return await agent.ainvoke(messages)
        chunks = [chunk async for chunk in agent.astream(messages)]
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        return whole

    messages: list[BaseMessage] = [HumanMessage("Weather in Paris?")]
    messages.append(call := await ask(messages))
    assert [(item["name"], item["args"]) for item in call.tool_calls] == [("get_weather", {"city": "Paris"})]
    result = await get_weather.ainvoke(call.tool_calls[0])
    assert isinstance(result, ToolMessage)
    messages.append(result)
    assert (await ask(messages)).content == "In Paris: 18 degrees in Paris"
    [first, second] = service.models["a"].prompts
    assert [item.name for item in first.tools] == ["get_weather"]
    assert [message.role for message in second.messages] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
async def test_structured_output(chat: ChatOpenAI, service: FakeService, method: Any):
    if method == "function_calling":
        says(service, "", tool_calls=(ToolCall("c1", "Person", BOB),))
    else:
        says(service, BOB)
    answer = await chat.with_structured_output(Person, method=method).ainvoke("Give a person as JSON.")
    assert answer == Person(name="Bob", age=5)
    prompt = service.models["a"].prompts[0]
    assert (prompt.response_format is None) is (method == "function_calling")


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")  # its own, of its own events
async def test_structured_output_in_a_stream(chat: ChatOpenAI, service: FakeService):
    says(service, BOB)
    parts = [part async for part in chat.with_structured_output(Person).astream("Give a person as JSON.")]
    assert parts[-1] == Person(name="Bob", age=5)


ERRORS: list[tuple[FailureKind, type[openai.APIStatusError], int, str]] = [
    ("context_length", openai.BadRequestError, 400, "context_length_exceeded"),
    ("refused", openai.BadRequestError, 400, "unsupported"),
    ("rate_limited", openai.RateLimitError, 429, "rate_limited"),
    ("error", openai.InternalServerError, 502, "error"),
    ("timeout", openai.InternalServerError, 504, "timeout"),
    ("invalid_output", openai.InternalServerError, 502, "invalid_output"),
]


@pytest.mark.parametrize(("kind", "error", "status", "code"), ERRORS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_failures_of_models(
    chat: ChatOpenAI,
    service: FakeService,
    kind: FailureKind,
    error: type[openai.APIStatusError],
    status: int,
    code: str,
    streamed: bool,
):
    service.models["t"] = Scripted(Failure(kind, "It cannot."))
    single = chat.bind(model="t")
    call = anext(single.astream("Hi")) if streamed else single.ainvoke("Hi")
    with pytest.raises(error) as caught:
        await call
    assert (caught.value.status_code, caught.value.code) == (status, code)


async def test_errors_of_requests(chat: ChatOpenAI):
    with pytest.raises(openai.NotFoundError) as missing:
        await chat.bind(model="defualt").ainvoke("Hi")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        await chat.bind(temperature=7).ainvoke("Hi")
    assert refused.value.param == "temperature"


async def test_a_stream_that_breaks_off_raises(chat: ChatOpenAI, service: FakeService):
    service.models["t"] = Breaks(Failure("error", "The target broke."))
    with pytest.raises(openai.APIError, match="The target broke"):
        async for _ in chat.bind(model="t").astream("Hi"):
            pass
