"""The API key that our own commands send to a server."""

import os
from http import HTTPStatus

from serve_app.errors import ConfigError

VARIABLE = "CASCADE_API_KEY"
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""Statuses of a request that is refused for its key, or for the lack of one."""


def key_headers() -> dict[str, str]:
    """Return the header with the key that the environment variable has; nothing if it is not set.

    Raises ConfigError for what can be no key, since no header can hold it.
    """
    key = os.environ.get(VARIABLE, "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise ConfigError(f"{VARIABLE} must be visible ASCII characters without spaces.")
    return {"authorization": f"Bearer {key}"} if key else {}


def refusal(url: str, status: int, server_message: str | None) -> str:
    """Return a sentence about a request that the server at `url` refused with 401 or 403, and the server's own."""
    if not key_headers():
        reason = f"no API key was sent; set {VARIABLE}"
    elif status == HTTPStatus.UNAUTHORIZED:
        reason = f"the API key in {VARIABLE} is wrong or no longer valid"
    else:
        reason = f"the API key in {VARIABLE} is not allowed to make it"
    sentence = f"{url} refused the request (HTTP {status}): {reason}."
    return f"{sentence} The server says: {server_message}" if server_message else sentence
