"""What an endpoint is sent, over HTTP."""

import pytest

from serve_app.core.tools import Tool
from serve_app.core.types.prompt import Image, Message, Prompt, ToolCall
from tests.engines.asking import QUESTION, ask, chat, raw
from tests.engines.conftest import Load
from tests.engines.endpoint import Endpoint
from tests.engines.replies import ANSWER, events

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOOL = Tool("weather", parameters={"type": "object"})

TOOL_JSON = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


async def test_a_request_has_what_was_named_and_nothing_else(endpoint: Endpoint, load: Load) -> None:
    endpoint.script += [ANSWER, ANSWER]
    engine = await load(stream_options={"include_usage": True})
    await ask(engine)
    messages = [{"role": "user", "content": QUESTION}]
    body = {"model": "big", "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    assert endpoint.last == body
    sampling = {"max_tokens": 5, "temperature": 0.0, "top_p": 0.5, "seed": 7, "stop": ("\n",)}
    await ask(engine, chat(QUESTION, **sampling))
    assert endpoint.last == body | sampling | {"stop": ["\n"]}
    assert endpoint.requests[-1].path == "/v1/chat/completions"


async def test_penalties_biases_and_alternatives_are_passed_on(endpoint: Endpoint, load: Load) -> None:
    penalties = {"frequency_penalty": 0.0, "presence_penalty": -0.5}
    top = [{"token": token, "logprob": logprob} for token, logprob in (("It", -0.5), ("We", -1.5), ("No", -2.5))]
    entry = {"token": "It", "logprob": -0.5, "top_logprobs": top}
    choice = {"delta": {"content": "It"}, "finish_reason": "stop", "logprobs": {"content": [entry]}}
    endpoint.script += [events({"choices": [choice]})] * 2
    engine = await load(extra_body={"frequency_penalty": 1.0, "top_k": 3})
    sampling = {"logit_bias": ((7, -100.0),), "logprobs": True, "top_logprobs": 2}
    answer = await ask(engine, chat(QUESTION, **penalties, **sampling))
    fields = {name: endpoint.last[name] for name in (*penalties, *sampling)}
    assert fields == penalties | sampling | {"logit_bias": {"7": -100.0}}
    assert endpoint.last["top_k"] == 3
    [token] = answer.logprobs or ()
    assert [(alternative.token, alternative.logprob) for alternative in token.alternatives] == [
        ("It", -0.5),
        ("We", -1.5),
    ]
    [token] = (await ask(engine, chat(QUESTION, logprobs=True))).logprobs or ()
    assert token.alternatives == ()
    assert endpoint.last["frequency_penalty"] == 1.0
    assert endpoint.last.keys().isdisjoint(("presence_penalty", "logit_bias", "top_logprobs"))


async def test_configured_values_hold_where_the_request_names_none(endpoint: Endpoint, load: Load) -> None:
    endpoint.script += [ANSWER, ANSWER]
    engine = await load(
        max_tokens=64, temperature=0.5, max_tokens_field="max_completion_tokens", extra_body={"top_k": 3}
    )
    await ask(engine)
    assert (endpoint.last["max_completion_tokens"], endpoint.last["temperature"], endpoint.last["top_k"]) == (
        64,
        0.5,
        3,
    )
    await ask(engine, chat(QUESTION, max_tokens=2, temperature=0.0))
    assert (endpoint.last["max_completion_tokens"], endpoint.last["temperature"]) == (2, 0)


async def test_raw_prompts_go_to_completions(endpoint: Endpoint, load: Load) -> None:
    old = {"tokens": [" Paris"], "token_logprobs": [-0.5]}
    endpoint.script.append(events({"choices": [{"text": " Paris", "finish_reason": "length", "logprobs": old}]}))
    answer = await ask(
        await load(max_tokens_field="max_completion_tokens"), raw("France:", max_tokens=1, logprobs=True)
    )
    assert endpoint.requests[-1].path == "/v1/completions"
    assert endpoint.last == {"model": "big", "prompt": "France:", "max_tokens": 1, "logprobs": 1, "stream": True}
    assert (answer.text, answer.finish_reason) == (" Paris", "length")
    assert [(entry.token, entry.logprob) for entry in answer.logprobs or ()] == [(" Paris", -0.5)]


async def test_tools_and_response_format_are_passed_on(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(ANSWER)
    called = Message("assistant", "", (ToolCall("c1", "weather", '{"city": "Paris"}'),))
    messages = (Message("user", "Weather?"), called, Message("tool", "Rain", tool_call_id="c1"))
    prompt = Prompt(messages, tools=(TOOL,), tool_choice="auto", response_format="json_object")
    await ask(await load(), prompt)
    assert endpoint.last["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
            ],
        },
        {"role": "tool", "content": "Rain", "tool_call_id": "c1"},
    ]
    assert (endpoint.last["tools"], endpoint.last["tool_choice"]) == ([TOOL_JSON], "auto")
    assert endpoint.last["response_format"] == {"type": "json_object"}


async def test_images_are_passed_on_in_their_place(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(ANSWER)
    parts = ("What is ", Image("data:image/png;base64,AA==", "low"), "?", Image("https://example.com/a.png"))
    await ask(await load(vision=True, image_urls=True), Prompt((Message("user", "What is ?", parts=parts),)))
    assert endpoint.last["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is "},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                {"type": "text", "text": "?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            ],
        }
    ]


async def test_one_call_at_a_time(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(ANSWER)
    await ask(await load(), Prompt((Message("user", "Weather?"),), tools=(TOOL,), parallel_tool_calls=False))
    assert endpoint.last["parallel_tool_calls"] is False
