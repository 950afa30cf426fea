"""The openai_api engine against real servers: this project's own API, llama.cpp's, and one that makes trouble."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from serve_app.core.tools import AnswerSchema, Tool
from serve_app.core.types import Failure, Generation, Message, Prompt, Sampling, ToolCall
from serve_app.engines import Engine, Meter
from serve_app.errors import ContextTooLongError, EngineError
from tests.api.serving import FakeService
from tests.api.serving import listening as serving
from tests.engines.asking import chat, generate, raw, stream, until
from tests.engines.conftest import load_openai_api
from tests.engines.endpoint import Endpoint, Reply, listening, send, sse

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = "sk-very-secret"
QUESTION = "What is the capital of France?"
Load = Callable[..., Awaitable[Engine]]


@pytest_asyncio.fixture(loop_scope="session")
async def endpoint() -> AsyncIterator[Endpoint]:
    async with listening() as endpoint:
        yield endpoint


@asynccontextmanager
async def loading(url: str, **defaults: object) -> AsyncIterator[Load]:
    """Engines that ask the server at this URL; in the end none may hold a slot."""
    engines: list[Engine] = []

    async def load(**values: object) -> Engine:
        engines.append(await load_openai_api(url, **(defaults | values)))
        return engines[-1]

    yield load
    for engine in engines:
        assert engine.counters().active == 0
        await engine.close()


@pytest_asyncio.fixture(loop_scope="session")
async def load(endpoint: Endpoint) -> AsyncIterator[Load]:
    async with loading(endpoint.url, model="big", stream_options=None) as load:
        yield load


def events(*chunks: dict[str, Any], done: bool = True) -> Reply:
    async def reply(request: web.Request) -> web.StreamResponse:
        response = await sse(request)
        for chunk in chunks:
            await send(response, chunk)
        if done:
            await response.write(b"data: [DONE]\n\n")
        return response

    return reply


def text(content: str, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}]} | more


ANSWER = events(text("Paris", "stop", usage={"prompt_tokens": 9, "completion_tokens": 1}))


def refusal(status: int, error: Any = None, **headers: str) -> Reply:
    async def reply(_: web.Request) -> web.Response:
        return web.json_response({"error": error or {}}, status=status, headers=headers)

    return reply


def plain(body: bytes) -> Reply:
    async def reply(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    return reply


async def ask(engine: Engine, prompt: Prompt | None = None) -> Generation:
    return await generate(engine, prompt or chat(QUESTION))


async def failure(engine: Engine, prompt: Prompt | None = None) -> tuple[str, Meter]:
    meter = Meter()
    with pytest.raises(EngineError) as caught:
        await engine.generate(prompt or chat(QUESTION), meter)
    return str(caught.value), meter


# What is sent


async def test_a_request_has_what_was_named_and_nothing_else(endpoint: Endpoint, load: Load) -> None:
    endpoint.script += [ANSWER, ANSWER]
    engine = await load(stream_options={"include_usage": True})
    await ask(engine)
    messages = [{"role": "user", "content": QUESTION}]
    asked = {"model": "big", "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    assert endpoint.last == asked
    sampling = {"max_tokens": 5, "temperature": 0.0, "top_p": 0.5, "seed": 7, "stop": ("\n",)}
    await ask(engine, chat(QUESTION, **sampling))
    assert endpoint.last == asked | sampling | {"stop": ["\n"]}
    assert endpoint.asked[-1].path == "/v1/chat/completions"


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
    assert endpoint.asked[-1].path == "/v1/completions"
    assert endpoint.last == {"model": "big", "prompt": "France:", "max_tokens": 1, "logprobs": 1, "stream": True}
    assert (answer.text, answer.finish_reason) == (" Paris", "length")
    assert [(entry.token, entry.logprob) for entry in answer.logprobs or ()] == [(" Paris", -0.5)]


TOOL = Tool("weather", parameters={"type": "object"})
TOOL_JSON = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


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


async def test_headers_and_the_key(endpoint: Endpoint, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", f"{KEY}\n")
    endpoint.script += [ANSWER, ANSWER]
    await ask(await load(keyless=False, api_key_env="SOME_KEY", headers={"X-Title": "cascade"}))
    assert endpoint.asked[-1].headers["Authorization"] == f"Bearer {KEY}"
    assert endpoint.asked[-1].headers["X-Title"] == "cascade"
    await ask(await load())
    assert "Authorization" not in endpoint.asked[-1].headers


async def test_the_requests_trace_goes_on_to_the_endpoint(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(ANSWER)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await ask(await load(), replace(chat("Italy?"), trace={"traceparent": parent, "tracestate": "a=1"}))
    sent = endpoint.asked[-1].headers
    assert (sent["traceparent"], sent["tracestate"]) == (parent, "a=1")


async def test_a_key_file_is_read_again_when_it_changes(endpoint: Endpoint, load: Load, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-one\n")
    engine = await load(keyless=False, api_key_file=str(file))
    for key in ("sk-one", "sk-two"):
        file.write_text(key)
        endpoint.script.append(ANSWER)
        await ask(engine)
        assert endpoint.asked[-1].headers["Authorization"] == f"Bearer {key}"
    file.unlink()
    message, meter = await failure(engine)
    assert message == f"The key for 'big' could not be read: the file {str(file)!r}: No such file or directory."
    assert meter == Meter()


async def test_azure(endpoint: Endpoint, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", KEY)
    endpoint.script += [ANSWER, events({"choices": [{"text": "Rome", "finish_reason": "stop"}]})]
    base_url = endpoint.url.removesuffix("/v1")
    engine = await load(base_url=base_url, api_version="2024-10-21", keyless=False, api_key_env="AZURE_KEY")
    assert (await ask(engine)).text == "Paris"
    assert endpoint.asked[-1].path == "/openai/deployments/big/chat/completions"
    assert endpoint.asked[-1].query == {"api-version": "2024-10-21"}
    assert endpoint.asked[-1].headers["api-key"] == KEY
    assert "Authorization" not in endpoint.asked[-1].headers
    assert (await ask(engine, raw("Italy:"))).text == "Rome"
    assert endpoint.asked[-1].path == "/openai/deployments/big/completions"


# What comes back


async def test_tool_calls_come_in_pieces(endpoint: Endpoint, load: Load) -> None:
    pieces = [
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city":'}},
        {"index": 1, "id": "c2", "function": {"name": "time", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": ' "Paris"}'}},
    ]
    chunks = [{"choices": [{"delta": {"tool_calls": [piece]}}]} for piece in pieces]
    endpoint.script.append(events(*chunks, {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}))
    answer = await ask(await load(), Prompt((Message("user", "Weather?"),), tools=(TOOL,)))
    assert answer.tool_calls == (ToolCall("c1", "weather", '{"city": "Paris"}'), ToolCall("c2", "time", "{}"))
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    assert answer.estimated
    assert answer.completion_tokens >= 4


async def test_whole_tool_calls_without_an_index(endpoint: Endpoint, load: Load) -> None:
    calls = [{"id": id_, "function": {"name": "weather", "arguments": "{}"}} for id_ in ("c1", "c2")]
    endpoint.script.append(events({"choices": [{"delta": {"tool_calls": calls}, "finish_reason": "stop"}]}))
    answer = await ask(await load(), Prompt((Message("user", "Weather?"),), tools=(TOOL,)))
    assert [call.id for call in answer.tool_calls] == ["c1", "c2"]
    assert answer.finish_reason == "tool_calls"


async def test_calls_that_share_an_index(endpoint: Endpoint, load: Load) -> None:
    """Another id with a name begins another call; an id alone does not, as some endpoints make one for each piece."""
    pieces = [
        {"index": 0, "function": {"name": "weather", "arguments": '{"x":'}},
        {"index": 0, "id": "a", "function": {"arguments": " 1"}},
        {"index": 0, "id": "other", "function": {"arguments": "}"}},
        {"index": 0, "id": "b", "function": {"name": "time", "arguments": '{"x":'}},
        {"index": 0, "id": "b", "function": {"name": "time", "arguments": " 2}"}},
    ]
    chunks = [{"choices": [{"delta": {"tool_calls": [piece]}}]} for piece in pieces]
    endpoint.script.append(events(*chunks, {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}))
    answer = await ask(await load(), Prompt((Message("user", "Weather?"),), tools=(TOOL,)))
    assert answer.tool_calls == (ToolCall("a", "weather", '{"x": 1}'), ToolCall("b", "time", '{"x": 2}'))


async def test_one_call_at_a_time(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(ANSWER)
    await ask(await load(), Prompt((Message("user", "Weather?"),), tools=(TOOL,), parallel_tool_calls=False))
    assert endpoint.last["parallel_tool_calls"] is False


async def test_an_answer_in_one_piece_does_not_say_when_its_first_token_was_there(
    endpoint: Endpoint, load: Load
) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    endpoint.script += [ANSWER, events(text("Paris.", "stop", usage=usage)), events(text("Par"), text("is.", "stop"))]
    engine = await load()
    answers = [await ask(engine) for _ in range(3)]
    assert [answer.first_token_s is None for answer in answers] == [False, True, False]


async def test_endpoints_that_do_not_stream(endpoint: Endpoint, load: Load) -> None:
    async def whole(_: web.Request) -> web.Response:
        logprobs = {"content": [{"token": "Paris", "logprob": -0.1}]}
        choice = {"message": {"content": "Paris"}, "finish_reason": "stop", "logprobs": logprobs}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}})

    endpoint.script += [whole, whole]
    engine = await load(stream=False)
    prompt = chat(QUESTION, logprobs=True)
    answer = await ask(engine, prompt)
    assert "stream" not in endpoint.last
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("Paris", 9, 1)
    assert [(entry.token, entry.logprob) for entry in answer.logprobs or ()] == [("Paris", -0.1)]
    deltas, _ = await stream(engine, prompt)
    assert [delta.text for delta in deltas] == ["Paris"]


async def test_without_usage_tokens_are_estimated_and_said_to_be(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(events(text("It is"), text(" Paris."), text("", "stop")))
    answer = await ask(await load())
    # 12 bytes at 3 to a token; the prompt's 30, and 8 tokens for its message
    assert (answer.prompt_tokens, answer.completion_tokens, answer.estimated) == (18, 4, True)


async def test_usage_is_counted(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(ANSWER)
    answer = await ask(engine := await load())
    assert (answer.prompt_tokens, answer.completion_tokens, answer.estimated) == (9, 1, False)
    counters = engine.counters()
    assert (counters.requests, counters.prompt_tokens, counters.completion_tokens) == (1, 9, 1)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": None, "completion_tokens": 7},
        {"prompt_tokens": 9, "completion_tokens": None},
        {"completion_tokens": 7},
        {"prompt_tokens": -50, "completion_tokens": 7},
        {"prompt_tokens": 9, "completion_tokens": float("inf")},
        {"prompt_tokens": 10**400, "completion_tokens": 7},
        {"prompt_tokens": "9", "completion_tokens": True},
        "n/a",
    ],
)
async def test_usage_that_is_no_count_is_none(endpoint: Endpoint, load: Load, usage: Any) -> None:
    endpoint.script.append(events(text("Paris", "stop", usage=usage)))
    answer = await ask(await load())
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens, answer.estimated) == ("Paris", 18, 2, True)


async def test_a_refusal_is_an_answer(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(events({"choices": [{"delta": {"refusal": "I cannot."}, "finish_reason": "stop"}]}))
    assert (await ask(await load())).text == "I cannot."


@pytest.mark.parametrize("reason", ["content_filter", "abort"])
async def test_an_answer_that_the_endpoint_cut_is_none(endpoint: Endpoint, load: Load, reason: str) -> None:
    endpoint.script.append(events(text("Par", reason)))
    message, meter = await failure(await load())
    assert message == f"The answer of the model 'big' at {endpoint.host} was cut off by the endpoint ({reason})."
    assert meter.completion_tokens == 1


def scored(content: str, *entries: tuple[Any, ...], finish_reason: str = "stop") -> dict[str, Any]:
    """A whole answer with its tokens: text, log-probability, and bytes where those are sent."""
    names = ("token", "logprob", "bytes")
    chunk = text(content, finish_reason)
    chunk["choices"][0]["logprobs"] = {"content": [dict(zip(names, entry, strict=False)) for entry in entries]}
    return chunk


async def test_logprobs_are_finite_and_at_most_0(endpoint: Endpoint, load: Load) -> None:
    entries = [("P", 50.0), ("ar", 0), ("is", float("-inf")), (".", -1e9)]
    endpoint.script.append(events(scored("Paris.", *entries)))
    answer = await ask(await load(), chat(QUESTION, logprobs=True))
    assert [entry.logprob for entry in answer.logprobs or ()] == [0.0, 0.0, -9999.0, -9999.0]


EMOJI = [
    ("Hi", -0.1, list(b"Hi")),
    (r" \xf0\x9f", -0.1, list(b" \xf0\x9f")),
    (r"\x98", -0.1, list(b"\x98")),
    (r"\x80", -0.1, list(b"\x80")),
    (" there", -0.2, list(b" there")),
]


@pytest.mark.parametrize(
    ("entries", "kept"),
    [
        ([*EMOJI, (" é", -0.3, None)], 6),
        ([*EMOJI, (" é", -0.3), ("", -0.4)], 7),
        ([*EMOJI, (" é", -0.3), ("EN", -0.4), ("D", -0.5)], 6),
        ([*EMOJI, (" éE", -0.3), ("ND", -0.4)], 6),
    ],
)
async def test_logprobs_end_where_a_stop_string_begins(
    endpoint: Endpoint, load: Load, entries: list[tuple[Any, ...]], kept: int
) -> None:
    """Tokens are measured in bytes, as those that are a part of a character come in escapes."""
    endpoint.script.append(events(scored("Hi 😀 there é", *entries)))
    answer = await ask(await load(), chat(QUESTION, logprobs=True, stop=("END",)))
    assert [entry.token for entry in answer.logprobs or ()] == [entry[0] for entry in entries[:kept]]


async def test_logprobs_of_a_call_are_no_text_to_cut(endpoint: Endpoint, load: Load) -> None:
    chunk = scored("", ("{", -0.1), ("}", -0.2), finish_reason="tool_calls")
    chunk["choices"][0]["delta"]["tool_calls"] = [{"id": "c1", "function": {"name": "weather", "arguments": "{}"}}]
    endpoint.script.append(events(chunk))
    answer = await ask(await load(), chat("Weather?", logprobs=True, stop=("END",)))
    assert len(answer.logprobs or ()) == 2


async def test_promised_logprobs_that_do_not_come(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(ANSWER)
    message, _ = await failure(await load(), chat(QUESTION, logprobs=True))
    assert message.endswith("sent no log-probabilities, though its config says logprobs: true.")


async def test_logprobs_are_not_asked_of_an_endpoint_without(endpoint: Endpoint, load: Load) -> None:
    message, _ = await failure(await load(logprobs=False), chat(QUESTION, logprobs=True))
    assert message == f"The model 'big' at {endpoint.host} gives no log-probabilities."
    assert not endpoint.asked


# What goes wrong


async def test_a_429_is_tried_again_after_the_time_it_names(endpoint: Endpoint, load: Load) -> None:
    times: list[float] = []

    async def busy(_: web.Request) -> web.Response:
        times.append(asyncio.get_running_loop().time())
        return web.json_response({}, status=429, headers={"retry-after": "1"})

    async def ready(request: web.Request) -> web.StreamResponse:
        times.append(asyncio.get_running_loop().time())
        return await ANSWER(request)

    endpoint.script += [busy, ready]
    assert (await ask(await load(max_retries=1))).text == "Paris"
    # Without Retry-After the client's first wait is at most half a second.
    assert times[1] - times[0] >= 1


async def test_errors_are_tried_again_as_often_as_configured(endpoint: Endpoint, load: Load) -> None:
    endpoint.script += [refusal(500), ANSWER]
    assert (await ask(await load(max_retries=1))).text == "Paris"
    endpoint.script += [refusal(503)]
    message, meter = await failure(await load(max_retries=0))
    assert message == f"The endpoint {endpoint.host} failed to answer as 'big' (HTTP 503)."
    assert meter == Meter(), "nothing was done, so nothing is charged"


BUSY = "takes no more requests now, or has no quota left, for 'big' (HTTP 429, insufficient_quota)"
REFUSALS = [
    (
        401,
        {"message": f"Incorrect API key: {KEY}", "code": "invalid_api_key"},
        "refused the key for 'big' (HTTP 401, invalid_api_key)",
    ),
    (403, None, "does not allow the use of 'big' (HTTP 403)"),
    (404, {"message": QUESTION, "type": "NotFound", "code": 404}, "does not have 'big' (HTTP 404, NotFound)"),
    (429, {"code": "insufficient_quota"}, BUSY),
    (
        400,
        {"message": QUESTION, "code": "unsupported_value", "param": "temperature"},
        "refused the request to 'big' (HTTP 400, unsupported_value, temperature)",
    ),
    (400, {"message": QUESTION, "code": QUESTION, "param": {"a": 1}}, "refused the request to 'big' (HTTP 400)"),
    (400, QUESTION, "refused the request to 'big' (HTTP 400)"),
    (502, None, "failed to answer as 'big' (HTTP 502)"),
]


@pytest.mark.parametrize(("status", "error", "did"), REFUSALS)
async def test_refusals_name_model_host_and_status_and_nothing_private(
    endpoint: Endpoint, load: Load, monkeypatch: pytest.MonkeyPatch, status: int, error: Any, did: str
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    endpoint.script.append(refusal(status, error))
    message, _ = await failure(await load(keyless=False, api_key_env="SOME_KEY", max_retries=0))
    assert message == f"The endpoint {endpoint.host} {did}."


OPENAI = {"code": "context_length_exceeded"}
MAXIMUM = "This model's maximum context length is 8192 tokens. However, "
INPUT = "your prompt contains at least 9001 input tokens, for a total of at least 9017 tokens."
LLAMA = {
    "code": 400,
    "type": "exceed_context_size_error",
    "message": "too long",
    "n_prompt_tokens": 9001,
    "n_ctx": 8192,
}
LONG = [
    (OPENAI | {"message": f"{MAXIMUM}your messages resulted in 9001 tokens. Please reduce"}, 9001, 8192),
    (OPENAI | {"message": f"{MAXIMUM}you requested 9000 tokens (8000 in the messages, 1000 in the"}, 8000, 8192),
    (OPENAI | {"message": "Your input exceeds the context window of this model."}, None, None),
    # vLLM
    ({"code": 400, "message": f"{MAXIMUM}you requested 16 output tokens and {INPUT}"}, 9001, 8192),
    ({"message": "The decoder prompt (length 9001) is longer than the maximum model length of 8192."}, 9001, 8192),
    ({"message": "Input length (9001) exceeds model's maximum context length (8192)."}, 9001, 8192),
    (LLAMA, 9001, 8192),
    # Text Generation Inference
    ({"message": "`inputs` tokens + `max_new_tokens` must be <= 8192. Given: 9001 `inputs` tokens"}, 9001, 8192),
]


@pytest.mark.parametrize(("error", "prompt_tokens", "context_tokens"), LONG)
async def test_prompts_that_do_not_fit(
    endpoint: Endpoint, load: Load, error: dict[str, Any], prompt_tokens: int | None, context_tokens: int | None
) -> None:
    endpoint.script += [refusal(400, error), events({"error": error})]
    engine = await load()
    for _ in ("as a status", "in a stream that has begun"):
        with pytest.raises(ContextTooLongError) as caught:
            await engine.generate(chat(QUESTION), meter := Meter())
        assert (caught.value.prompt_tokens, caught.value.context_tokens) == (prompt_tokens, context_tokens)
        assert meter == Meter()


async def test_an_error_in_the_stream(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(events(text("Par"), {"error": {"message": QUESTION, "code": "overloaded"}}))
    message, meter = await failure(await load())
    assert message == f"The endpoint {endpoint.host} failed to answer as 'big' (in its answer, overloaded)."
    assert (meter.prompt_tokens, meter.completion_tokens, meter.estimated) == (18, 1, True)


async def test_nobody_listens(load: Load) -> None:
    message, meter = await failure(await load(base_url="http://127.0.0.1:1/v1", max_retries=0))
    assert message == "The connection to the model 'big' at 127.0.0.1:1 failed."
    assert meter == Meter()


async def test_a_prompt_that_cannot_be_sent(endpoint: Endpoint, load: Load) -> None:
    message, meter = await failure(await load(), chat("\ud800"))
    assert message == f"The client could not ask the model 'big' at {endpoint.host} (UnicodeEncodeError)."
    assert meter == Meter()
    assert not endpoint.asked


async def test_nobody_accepts(load: Load) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        message, meter = await failure(await load(base_url=url, connect_timeout_s=0.2, max_retries=0))
    assert "did not answer in time" in message
    assert meter == Meter()


async def test_the_connection_breaks_in_the_stream(endpoint: Endpoint, load: Load) -> None:
    async def breaks(request: web.Request) -> web.StreamResponse:
        response = await sse(request)
        await send(response, text("Par"))
        assert request.transport is not None
        request.transport.abort()
        return response

    endpoint.script.append(breaks)
    message, meter = await failure(await load())
    assert message == f"The connection to the model 'big' at {endpoint.host} failed."
    assert (meter.completion_tokens, meter.estimated) == (1, True)
    assert len(endpoint.asked) == 1, "nothing is tried again once an answer has begun"


async def cut_off(request: web.Request) -> web.StreamResponse:
    """Nothing comes, and then the connection is lost."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut_off_after_headers(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "application/json", "content-length": "5000"})
    await response.prepare(request)
    await response.write(b'{"choices":')
    return await cut_off(request)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("reply", [cut_off, cut_off_after_headers, refusal(504), refusal(408)])
async def test_an_endpoint_that_may_have_worked_is_charged(
    endpoint: Endpoint, load: Load, reply: Reply, streamed: bool
) -> None:
    endpoint.script.append(reply)
    _, meter = await failure(await load(max_retries=0, stream=streamed))
    assert (meter.prompt_tokens, meter.completion_tokens, meter.estimated) == (18, 0, True)


async def test_a_whole_answer_that_broke_off_is_asked_for_again(endpoint: Endpoint, load: Load) -> None:
    answer = plain(b'{"choices": [{"message": {"content": "Paris"}, "finish_reason": "stop"}]}')
    endpoint.script += [cut_off_after_headers, answer]
    assert (await ask(await load(stream=False, max_retries=1))).text == "Paris"


NO_ANSWER = "The model 'big' at {} sent what is no answer of OpenAI's form."


def wire(data: bytes) -> Reply:
    async def reply(request: web.Request) -> web.StreamResponse:
        response = await sse(request)
        await response.write(b"data: " + data + b"\n\n")
        return response

    return reply


def finished(reason: Any) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": "Paris"}, "finish_reason": reason}]}


def called(call: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (events(text("Par"), done=False), "The answer of the model 'big' at {} broke off."),
        (events({"choices": ["Paris"]}), NO_ANSWER),
        (wire(b'{"choices": [{"delta": {"content": "Par\xff"}}]}'), NO_ANSWER),
        (wire(b"[" * 100_000), NO_ANSWER),
        (wire(b'{"created": ' + b"9" * 5000 + b"}"), NO_ANSWER),
        (events(finished({"type": "stop"})), NO_ANSWER),
        (events(called({"id": 7, "function": {"name": "weather", "arguments": "{}"}})), NO_ANSWER),
        (events(called({"id": "c1", "function": {"name": 9, "arguments": "{}"}})), NO_ANSWER),
        (events(scored("Paris", ("Paris", float("nan")))), NO_ANSWER),
        (events(scored("Paris", ("Paris", None))), NO_ANSWER),
        (events(scored("Paris", ("Paris", "-0.1"))), NO_ANSWER),
        (events(scored("Paris", ("Paris", -(10**400)))), NO_ANSWER),
        (events(scored("Paris", (None, -0.1))), NO_ANSWER),
    ],
)
async def test_answers_that_are_none(endpoint: Endpoint, load: Load, reply: Reply, sentence: str) -> None:
    endpoint.script.append(reply)
    assert (await failure(await load(), chat(QUESTION, logprobs=True)))[0] == sentence.format(endpoint.host)


@pytest.mark.parametrize("body", [b'{"choices": [{"message": {"content": "\xff"}}]}', b"[" * 100_000, b"{oops"])
async def test_whole_answers_that_are_none(endpoint: Endpoint, load: Load, body: bytes) -> None:
    endpoint.script.append(plain(body))
    assert (await failure(await load(stream=False)))[0] == NO_ANSWER.format(endpoint.host)


async def test_a_whole_answer_that_is_an_error(endpoint: Endpoint, load: Load) -> None:
    engine = await load(stream=False)
    endpoint.script += [
        plain(b'{"error": {"message": "busy", "code": "overloaded"}}'),
        plain(b'{"error": {"code": "context_length_exceeded"}}'),
    ]
    message, meter = await failure(engine)
    assert message == f"The endpoint {endpoint.host} failed to answer as 'big' (in its answer, overloaded)."
    assert meter == Meter()
    with pytest.raises(ContextTooLongError):
        await engine.generate(chat(QUESTION), meter := Meter())
    assert meter == Meter()


@pytest.mark.parametrize(
    "body", [b'{"choices": [{"message": {"content": "Paris"}, "finish_reason": "stop"}]}', b'{"error": {"code": 429}}']
)
async def test_a_whole_answer_where_a_stream_was_asked_for(endpoint: Endpoint, load: Load, body: bytes) -> None:
    endpoint.script.append(plain(body))
    message, meter = await failure(await load())
    no_stream = "sent no event stream; where it gives only whole answers, say stream: false."
    assert message == f"The model 'big' at {endpoint.host} {no_stream}"
    assert (meter.prompt_tokens, meter.estimated) == (18, True), "it may have answered"


@pytest.mark.parametrize("body", ["<html>Welcome</html>", "data: <html>\n\n"])
async def test_a_server_that_is_no_endpoint(endpoint: Endpoint, load: Load, body: str) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="text/html")

    endpoint.script += [page, page]
    for engine in (await load(), await load(stream=False)):
        message, _ = await failure(engine)
        assert message.startswith("The ")
        assert f"model 'big' at {endpoint.host}" in message


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def hangs_in_the_stream(request: web.Request) -> web.StreamResponse:
    response = await sse(request)
    for word in ("It", " is", " Par"):
        await send(response, text(word))
    return await hangs(request)


@pytest.mark.parametrize("reply", [hangs, hangs_in_the_stream])
async def test_silence_is_an_error(endpoint: Endpoint, load: Load, reply: Reply) -> None:
    endpoint.script.append(reply)
    message, meter = await failure(await load(timeout_s=0.2, max_retries=0))
    assert message.startswith(f"The model 'big' at {endpoint.host} did not answer in time (timeout_s: 0.2")
    assert (meter.prompt_tokens, meter.estimated) == (18, True), "it may have worked on the prompt"
    await until(lambda: endpoint.left == 1)


@pytest.mark.parametrize("how", ["generate", "stream"])
@pytest.mark.parametrize("reply", [hangs, hangs_in_the_stream])
async def test_the_endpoint_sees_a_cancelled_request_leave(
    endpoint: Endpoint, load: Load, reply: Reply, how: str
) -> None:
    endpoint.script.append(reply)
    engine, meter = await load(), Meter()
    work = engine.generate(chat(QUESTION), meter) if how == "generate" else _drained(engine, meter)
    task = asyncio.ensure_future(work)
    tokens = 3 if reply is hangs_in_the_stream else 0
    await until(lambda: len(endpoint.asked) == 1 and meter.completion_tokens >= tokens)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: endpoint.left == 1)
    assert (meter.prompt_tokens, meter.completion_tokens, meter.estimated) == (18, tokens, True)


async def _drained(engine: Engine, meter: Meter) -> None:
    async for _ in engine.stream(chat(QUESTION), meter):
        pass


async def test_waiting_for_another_try_ends_with_the_request(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(refusal(429, None, **{"retry-after": "60"}))
    engine = await load()
    task = asyncio.create_task(engine.generate(chat(QUESTION), Meter()))
    await until(lambda: len(endpoint.asked) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.counters().active == 0


# Servers of this project and of llama.cpp


@pytest_asyncio.fixture(loop_scope="session")
async def service() -> FakeService:
    return FakeService()


@pytest_asyncio.fixture(loop_scope="session")
async def ours(service: FakeService) -> AsyncIterator[Load]:
    """Engines that ask this project's own API, over scripted models."""
    async with serving(service) as url, loading(f"{url}/v1", stream_options={"include_usage": True}) as load:
        yield load


@pytest.mark.parametrize("model", ["default", "t"])
async def test_a_cascade_as_a_model(service: FakeService, ours: Load, model: str) -> None:
    service.disagree()
    engine = await ours(model=model)
    prompt = chat(QUESTION, max_tokens=20, temperature=0.5, seed=3, stop=("\n",))
    answer = await generate(engine, prompt)
    assert (answer.text, answer.finish_reason, answer.estimated) == ("It is Paris.", "stop", False)
    # `usage` is what all models of the cascade read and wrote: 1 + 1 words of the members and the target's 3.
    tokens = (30, 5) if model == "default" else (10, 3)
    assert (answer.prompt_tokens, answer.completion_tokens) == tokens
    deltas, streamed = await stream(engine, prompt)
    assert [delta.text for delta in deltas] == ["It", " is", " Paris."]
    assert streamed.completion_tokens == tokens[1]
    assert service.models["t"].prompts[0].sampling == prompt.sampling
    assert (await generate(engine, raw("France:"))).text == "It is Paris."


async def test_logprobs_of_a_cascade_come_in_whole_answers(ours: Load) -> None:
    answer = await generate(await ours(model="default", stream=False), chat(QUESTION, logprobs=True))
    assert [(entry.token, entry.logprob) for entry in answer.logprobs or ()] == [("Paris", -0.25)]


@pytest.mark.parametrize("streamed", [True, False])
async def test_failures_of_a_cascade(service: FakeService, ours: Load, streamed: bool) -> None:
    engine = await ours(model="t", max_retries=0, stream=streamed)
    service.models["t"].text = Failure("context_length", str(ContextTooLongError(100, 64)))
    with pytest.raises(ContextTooLongError, match="has 100 tokens, but the context holds 64"):
        await generate(engine, chat(QUESTION))
    service.models["t"].text = Failure("error", "The disk is full.")
    with pytest.raises(EngineError, match=r"failed to answer as 't' \((in its answer|HTTP 502), error\)"):
        await generate(engine, chat(QUESTION))


async def test_cancelling_stops_the_cascade(service: FakeService, ours: Load) -> None:
    service.models["t"].delay_s = 3600
    engine = await ours(model="t")
    task = asyncio.create_task(engine.generate(chat(QUESTION), Meter()))
    await asyncio.wait_for(service.models["t"].entered.wait(), 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: service.models["t"].stopped == 1)


@pytest.fixture(scope="session")
def llama_server(smollm2: Path) -> Iterator[str]:
    """llama.cpp's own HTTP server with a real model; its key is in LLAMA_KEY."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(smollm2)
    params.n_parallel, params.n_ctx = 2, 4096
    params.cpuparams.n_threads = 1
    params.verbosity = -1
    params.ui = False
    params.api_keys = [KEY]
    os.environ["LLAMA_KEY"] = KEY
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server, os.environ["LLAMA_KEY"]


@pytest_asyncio.fixture(loop_scope="session")
async def llama_api(llama_server: str) -> AsyncIterator[Engine]:
    engine = await load_openai_api(
        llama_server, keyless=False, api_key_env="LLAMA_KEY", stream_options={"include_usage": True}
    )
    yield engine
    await engine.close()


@pytest.mark.models
async def test_llama_server_answers_as_the_model_does(llama_api: Engine, llama: Engine) -> None:
    """The same tokens as in process. Its streams count at the end only, so deltas have estimates."""
    prompt = chat("What is the capital of France?", max_tokens=8, temperature=0.0, logprobs=True)
    here, there = await generate(llama, prompt), await generate(llama_api, prompt)
    assert (there.text, there.finish_reason) == (here.text, "length")
    assert (there.prompt_tokens, there.completion_tokens) == (here.prompt_tokens, 8)
    assert [entry.token for entry in there.logprobs or ()] == [entry.token for entry in here.logprobs or ()]
    deltas, streamed = await stream(
        llama_api, raw("The capital of France is", max_tokens=4, temperature=0.0, logprobs=True)
    )
    assert all(delta.estimated for delta in deltas)
    assert (len(streamed.logprobs or ()), streamed.completion_tokens, streamed.estimated) == (4, 4, False)


@pytest.mark.models
async def test_llama_server_honours_a_schema(llama_api: Engine) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris"]}}, "required": ["city"]}
    form = AnswerSchema("answer", schema)
    prompt = Prompt((Message("user", QUESTION),), sampling=Sampling(max_tokens=40), response_format=form)
    assert "".join((await generate(llama_api, prompt)).text.split()) == '{"city":"Paris"}'


@pytest.mark.models
async def test_llama_server_refuses(llama_api: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ContextTooLongError, match="has 3001 tokens, but the context holds 2048"):
        await generate(llama_api, raw("story " * 3000))
    monkeypatch.setenv("LLAMA_KEY", "sk-wrong")
    assert "refused the key for 'replayed' (HTTP 401" in (await failure(llama_api))[0]
