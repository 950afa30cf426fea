"""Connections that fail, break or fall silent."""

import socket

import pytest
from aiohttp import web

from serve_app.engines import Meter
from tests.engines.asking import ask, chat, failure, until
from tests.engines.conftest import Load
from tests.engines.endpoint import Endpoint, Reply, send, sse
from tests.engines.replies import hangs, hangs_in_the_stream, plain, refusal, text

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_nobody_listens(load: Load) -> None:
    message, meter = await failure(await load(base_url="http://127.0.0.1:1/v1", max_retries=0))
    assert message == "The connection to the model 'big' at 127.0.0.1:1 failed."
    assert meter == Meter()


async def test_a_prompt_that_cannot_be_sent(endpoint: Endpoint, load: Load) -> None:
    message, meter = await failure(await load(), chat("\ud800"))
    assert message == f"The client could not call the model 'big' at {endpoint.host} (UnicodeEncodeError)."
    assert meter == Meter()
    assert not endpoint.requests


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
    assert len(endpoint.requests) == 1, "nothing is tried again once an answer has begun"


async def cut_off(request: web.Request) -> web.StreamResponse:
    """Send nothing, and then lose the connection."""
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


@pytest.mark.parametrize("body", ["<html>Welcome</html>", "data: <html>\n\n"])
async def test_a_server_that_is_no_endpoint(endpoint: Endpoint, load: Load, body: str) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="text/html")

    endpoint.script += [page, page]
    for engine in (await load(), await load(stream=False)):
        message, _ = await failure(engine)
        assert message.startswith("The ")
        assert f"model 'big' at {endpoint.host}" in message


@pytest.mark.parametrize("reply", [hangs, hangs_in_the_stream])
async def test_silence_is_an_error(endpoint: Endpoint, load: Load, reply: Reply) -> None:
    endpoint.script.append(reply)
    message, meter = await failure(await load(timeout_s=0.2, max_retries=0))
    assert message.startswith(f"The model 'big' at {endpoint.host} did not answer in time (timeout_s: 0.2")
    assert (meter.prompt_tokens, meter.estimated) == (18, True), "it may have worked on the prompt"
    await until(lambda: endpoint.disconnects == 1)
