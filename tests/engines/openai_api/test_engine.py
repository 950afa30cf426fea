"""The openai_api engine: keys, headers, whole answers, tries, cancellation."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from serve_app.engines import Engine, Meter
from tests.engines.asking import QUESTION, ask, chat, failure, raw, stream, until
from tests.engines.conftest import Load
from tests.engines.endpoint import Endpoint, Reply
from tests.engines.replies import ANSWER, KEY, events, hangs, hangs_in_the_stream, plain, refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_headers_and_the_key(endpoint: Endpoint, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", f"{KEY}\n")
    endpoint.script += [ANSWER, ANSWER]
    await ask(await load(keyless=False, api_key_env="SOME_KEY", headers={"X-Title": "cascade"}))
    assert endpoint.requests[-1].headers["Authorization"] == f"Bearer {KEY}"
    assert endpoint.requests[-1].headers["X-Title"] == "cascade"
    await ask(await load())
    assert "Authorization" not in endpoint.requests[-1].headers


async def test_the_requests_trace_goes_on_to_the_endpoint(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(ANSWER)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await ask(await load(), replace(chat("Italy?"), trace={"traceparent": parent, "tracestate": "a=1"}))
    sent = endpoint.requests[-1].headers
    assert (sent["traceparent"], sent["tracestate"]) == (parent, "a=1")


async def test_a_key_file_is_read_again_when_it_changes(endpoint: Endpoint, load: Load, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-one\n")
    engine = await load(keyless=False, api_key_file=str(file))
    for key in ("sk-one", "sk-two"):
        file.write_text(key)
        endpoint.script.append(ANSWER)
        await ask(engine)
        assert endpoint.requests[-1].headers["Authorization"] == f"Bearer {key}"
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
    assert endpoint.requests[-1].path == "/openai/deployments/big/chat/completions"
    assert endpoint.requests[-1].query == {"api-version": "2024-10-21"}
    assert endpoint.requests[-1].headers["api-key"] == KEY
    assert "Authorization" not in endpoint.requests[-1].headers
    assert (await ask(engine, raw("Italy:"))).text == "Rome"
    assert endpoint.requests[-1].path == "/openai/deployments/big/completions"


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


@pytest.mark.parametrize(
    "body", [b'{"choices": [{"message": {"content": "Paris"}, "finish_reason": "stop"}]}', b'{"error": {"code": 429}}']
)
async def test_a_whole_answer_where_a_stream_was_asked_for(endpoint: Endpoint, load: Load, body: bytes) -> None:
    endpoint.script.append(plain(body))
    message, meter = await failure(await load())
    no_stream = "sent no event stream; if it gives only whole answers, set stream: false."
    assert message == f"The model 'big' at {endpoint.host} {no_stream}"
    assert (meter.prompt_tokens, meter.estimated) == (18, True), "it may have answered"


async def test_logprobs_are_not_asked_of_an_endpoint_without(endpoint: Endpoint, load: Load) -> None:
    message, _ = await failure(await load(logprobs=False), chat(QUESTION, logprobs=True))
    assert message == f"The model 'big' at {endpoint.host} gives no log-probabilities."
    assert not endpoint.requests


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
    await until(lambda: len(endpoint.requests) == 1 and meter.completion_tokens >= tokens)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: endpoint.disconnects == 1)
    assert (meter.prompt_tokens, meter.completion_tokens, meter.estimated) == (18, tokens, True)


async def _drained(engine: Engine, meter: Meter) -> None:
    async for _ in engine.stream(chat(QUESTION), meter):
        pass


async def test_waiting_for_another_try_ends_with_the_request(endpoint: Endpoint, load: Load) -> None:
    endpoint.script.append(refusal(429, None, **{"retry-after": "60"}))
    engine = await load()
    task = asyncio.create_task(engine.generate(chat(QUESTION), Meter()))
    await until(lambda: len(endpoint.requests) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.counters().active == 0
