"""The key that commands send, and what they say if a server refuses it."""

import pytest

from serve_app.common.client_key import REFUSED, VARIABLE, key_headers, refusal
from serve_app.errors import ConfigError

MISSING = "no API key was sent; set CASCADE_API_KEY"


@pytest.mark.parametrize(
    ("key", "status", "reason"),
    [
        ("", 401, MISSING),
        ("", 403, MISSING),
        ("sk-cascade-1", 401, "the API key in CASCADE_API_KEY is wrong or no longer valid"),
        ("sk-cascade-1", 403, "the API key in CASCADE_API_KEY is not allowed to make it"),
    ],
)
def test_a_refusal_says_what_is_wrong_with_the_key(
    key: str, status: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, key)
    assert status in REFUSED
    sentence = f"http://server refused the request (HTTP {status}): {reason}."
    assert refusal("http://server", status, None) == sentence
    assert refusal("http://server", status, "Who is it?") == f"{sentence} The server says: Who is it?"


def test_no_header_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert key_headers() == {}
    monkeypatch.setenv(VARIABLE, " sk-cascade-1\n")
    assert key_headers() == {"authorization": "Bearer sk-cascade-1"}
    monkeypatch.setenv(VARIABLE, "two words")
    with pytest.raises(ConfigError, match="must be visible ASCII"):
        key_headers()
