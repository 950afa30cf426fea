"""Event streams with what the official client stumbles over."""

import json

import pytest
from aiohttp import web

from tests.engines.asking import ask
from tests.engines.conftest import Load
from tests.engines.endpoint import Endpoint, Reply
from tests.engines.replies import text

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAR = b"data: " + json.dumps(text("Par")).encode()
IS = b"data: " + json.dumps(text("is", "stop")).encode()
DONE = b"data: [DONE]"


def raw(*pieces: bytes) -> Reply:
    """Return a reply that streams exactly these bytes."""

    async def reply(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await stream.prepare(request)
        for piece in pieces:
            await stream.write(piece)
        return stream

    return reply


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize(
    "before", [b"", b"\xef\xbb\xbf", b": ping\n\n", b"data:\n\n", b"data: \n\n", b"event: ping\ndata:\n\n"]
)
async def test_what_comes_before_an_event_is_passed_over(
    endpoint: Endpoint, load: Load, before: bytes, end: bytes
) -> None:
    endpoint.script.append(raw(before + PAR + end + before.removeprefix(b"\xef\xbb\xbf") + IS + end + DONE + end))
    assert (await ask(await load())).text == "Paris"


LINES = b"event: message\nid: 7\ndata: " + json.dumps(text("Par")).encode().replace(b", ", b",\ndata: ")


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
async def test_an_event_may_have_several_lines(endpoint: Endpoint, load: Load, end: bytes, size: int) -> None:
    assert LINES.count(b"\ndata: ") > 2
    whole = b"\n\n".join([LINES, IS, DONE, b""]).replace(b"\n", end)
    endpoint.script.append(raw(*(whole[index : index + size] for index in range(0, len(whole), size))))
    assert (await ask(await load())).text == "Paris"


async def test_an_event_may_come_in_pieces(endpoint: Endpoint, load: Load) -> None:
    whole = b"\xef\xbb\xbf" + PAR + b"\n\ndata:\n\n" + IS + b"\n\n" + DONE
    endpoint.script.append(raw(*(whole[index : index + 1] for index in range(len(whole)))))
    assert (await ask(await load())).text == "Paris"
