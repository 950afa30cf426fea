"""The headers of W3C Trace Context, with the standard's own examples."""

import httpx
import pytest

from .serving import FakeService

CHAT = "/v1/chat/completions"
BODY = {"model": "default", "messages": [{"role": "user", "content": "Hi"}]}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_prompt_carries_the_clients_trace(http: httpx.AsyncClient, service: FakeService, stream: bool):
    headers = {"traceparent": PARENT, "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}
    await http.post(CHAT, json=BODY | {"stream": stream}, headers=headers)
    assert service.runs[0].prompt.trace == headers


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        f"{PARENT}-more",
    ],
)
async def test_what_is_no_trace_is_left_out(http: httpx.AsyncClient, service: FakeService, parent: str):
    response = await http.post(CHAT, json=BODY, headers={"traceparent": parent, "tracestate": "a=1"})
    assert response.status_code == 200
    assert service.runs[0].prompt.trace == {}


@pytest.mark.parametrize("state", ["", "x" * 513, "a=\x80"])
async def test_a_state_that_cannot_be_passed_on_is_left_out(http: httpx.AsyncClient, service: FakeService, state: str):
    headers = {b"traceparent": PARENT.encode(), b"tracestate": state.encode("latin-1")}
    await http.post(CHAT, json=BODY, headers=headers)
    assert service.runs[0].prompt.trace == {"traceparent": PARENT}
