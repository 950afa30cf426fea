"""Options that a request may name in its body or in a header."""

import httpx

from tests.api.serving import FakeService


async def test_a_session_is_named_in_the_body_or_a_header(http: httpx.AsyncClient, service: FakeService) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": "Hi"}]}
    path = "/v1/chat/completions"
    await http.post(path, json=body)
    await http.post(path, json=body, headers={"x-session-id": "one"})
    await http.post(path, json=body | {"cascade": {"session": "two"}}, headers={"x-session-id": "one"})
    assert [options.session for options in service.options] == [None, "one", "two"]
    for response in (
        await http.post(path, json=body, headers={"x-session-id": "x" * 257}),
        await http.post(path, json=body | {"cascade": {"session": "x" * 257}}),
        await http.post(path, json=body | {"cascade": {"session": ""}}),
    ):
        assert response.status_code == 400
        assert response.json()["error"]["param"] in ("x-session-id", "cascade.session")


async def test_a_time_limit_is_named_in_the_body_or_a_header(http: httpx.AsyncClient, service: FakeService) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": "Hi"}]}
    limited = body | {"cascade": {"max_latency_s": 4}}
    path, header = "/v1/chat/completions", "x-request-timeout-s"
    await http.post(path, json=body, headers={header: "2.5"})
    await http.post(path, json=limited, headers={header: "9"})
    await http.post(path, json=limited, headers={header: "3"})
    await http.post(path, json=limited)
    option = "cascade.max_latency_s"
    assert [(ask.limit_s, ask.limit_field) for ask in service.asks] == [
        (2.5, header),
        (4, option),
        (3, header),
        (4, option),
    ]
    for value in ("0", "-1", "soon", "nan", "inf"):
        response = await http.post(path, json=body, headers={header: value})
        assert (response.status_code, response.json()["error"]["param"]) == (400, header)
    response = await http.post(path, json=body | {"n": 2}, headers={header: "9"})
    message = "x-request-timeout-s: a request with a time limit has one answer (n)."
    assert (response.status_code, response.json()["error"]["message"]) == (400, message)
