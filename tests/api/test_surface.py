"""Models, health, documentation, and errors that no request field is to blame for."""

import logging

import httpx
import pytest

from .serving import FakeService, Scripted

CHAT = "/v1/chat/completions"
ASK = {"model": "default", "messages": [{"role": "user", "content": "Hi"}]}


async def test_models(http: httpx.AsyncClient):
    listed = (await http.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert [(card["id"], card["kind"]) for card in listed["data"]] == [
        ("default", "cascade"),
        ("a", "model"),
        ("b", "model"),
        ("t", "model"),
        ("encoder", "embedding"),
    ]
    assert (await http.get("/v1/models/default")).json() == listed["data"][0]


async def test_an_unknown_model(http: httpx.AsyncClient):
    response = await http.get("/v1/models/defualt")
    assert response.status_code == 404
    assert response.json()["error"] == {
        "message": "There is no model 'defualt'. Did you mean 'default'? Available: a, b, default, encoder, t.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


async def test_health(http: httpx.AsyncClient, service: FakeService):
    assert (await http.get("/healthz")).json() == {"status": "ok"}
    ready = await http.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "waiting_for": []})
    service.ready = False
    waiting = await http.get("/readyz")
    assert (waiting.status_code, waiting.json()["waiting_for"]) == (503, ["cascades.default.tiers[0]"])
    assert (await http.get("/healthz")).status_code == 200


async def test_documentation(http: httpx.AsyncClient):
    schema = (await http.get("/openapi.json")).json()
    assert set(schema["paths"]) == {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/models",
        "/v1/models/{model_id}",
        "/v1/responses",
        "/v1/responses/{response_id}",
        "/healthz",
        "/readyz",
    }
    responses = schema["paths"][CHAT]["post"]["responses"]
    assert set(responses) == {"200", "4XX", "5XX"}  # FastAPI's own 422 is never sent
    docs = await http.get("/docs")
    assert docs.status_code == 200
    assert "text/html" in docs.headers["content-type"]


async def test_an_unknown_path(http: httpx.AsyncClient):
    response = await http.post("/v1/chat/completion", json=ASK)
    assert response.status_code == 404
    error = response.json()["error"]
    paths = {*(await http.get("/openapi.json")).json()["paths"], "/docs", "/openapi.json"}
    assert error["message"] == (
        "There is no '/v1/chat/completion' here. Did you mean '/v1/chat/completions'? "
        f"Available: {', '.join(sorted(paths))}."
    )
    assert error["type"] == "invalid_request_error"


async def test_a_wrong_method(http: httpx.AsyncClient):
    response = await http.get(CHAT)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["error"]["message"] == "/v1/chat/completions does not take GET; use POST."


async def test_a_bug_is_logged_and_not_shown(
    http: httpx.AsyncClient, service: FakeService, caplog: pytest.LogCaptureFixture
):
    service.models["a"] = Scripted(RuntimeError("secret"))
    with caplog.at_level(logging.ERROR, "serve_app"):
        response = await http.post(CHAT, json=ASK)
    assert response.status_code == 500
    assert response.json()["error"] == {
        "message": "The server failed in a way it should not; see its log.",
        "type": "server_error",
        "param": None,
        "code": None,
    }
    assert "secret" not in response.text
    assert "secret" in caplog.text
    assert service.closings == [None]


HEADS = (
    "/healthz",
    "/readyz",
    "/v1/models",
    "/v1/models/default",
    "/v1/models/nope",
    "/docs",
    "/openapi.json",
    "/nope",
)


@pytest.mark.parametrize("path", [*HEADS, CHAT])
async def test_head_is_get_without_the_body(http: httpx.AsyncClient, path: str):
    head, get = await http.head(path), await http.get(path)
    assert (head.status_code, dict(head.headers)) == (get.status_code, dict(get.headers))
    assert (head.content, int(head.headers["content-length"])) == (b"", len(get.content))


async def test_head_of_a_server_that_is_not_ready(http: httpx.AsyncClient, service: FakeService):
    service.ready = False
    response = await http.head("/readyz")
    assert (response.status_code, response.content) == (503, b"")


async def test_head_leaves_a_real_connection_usable(url: str):
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        for path in HEADS:
            head, get = await http.head(path), await http.get(path)
            assert (head.status_code, head.headers["content-length"]) == (
                get.status_code,
                get.headers["content-length"],
            )


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY", "M" * 1000])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/v1/models/default", "/docs"])
async def test_what_takes_get_takes_head_too(http: httpx.AsyncClient, path: str, method: str):
    response = await http.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
    assert response.json()["error"]["message"] == f"{path} does not take {method[:80]}; use GET, HEAD."


async def test_options_without_cors_is_a_405(http: httpx.AsyncClient):
    headers = {"origin": "https://app.example", "access-control-request-method": "POST"}
    response = await http.options(CHAT, headers=headers)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert not [name for name in response.headers if name.startswith("access-control")]
