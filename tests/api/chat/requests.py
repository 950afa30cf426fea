"""Valid requests of both kinds of completion, and the errors of others."""

from typing import Any

import httpx

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
BASE: dict[str, dict[str, Any]] = {
    CHAT: {"model": "default", "messages": [{"role": "user", "content": "Hi"}]},
    TEXT: {"model": "default", "prompt": "Hi"},
}
PATHS = list(BASE)
JSON_TYPE = {"content-type": "application/json"}


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return the error object, which has OpenAI's four keys and no internals of ours."""
    body = response.json()
    assert set(body) - {"cascade"} == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("invalid_request_error" if response.status_code < 500 else "server_error")
    assert "Traceback" not in error["message"]
    assert "pydantic" not in error["message"].lower()
    return error


async def refused(http: httpx.AsyncClient, path: str, **fields: Any) -> tuple[str, str | None]:
    response = await http.post(path, json=BASE[path] | fields)
    assert response.status_code == 400, response.text
    error = error_of(response)
    return error["message"], error["param"]
