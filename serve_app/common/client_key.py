"""The API key that our own commands send to a server."""

import os

from serve_app.errors import ConfigError

VARIABLE = "CASCADE_API_KEY"


def key_headers() -> dict[str, str]:
    """Return the header with the key that the environment variable has; nothing if it is not set.

    Raises ConfigError for what can be no key, since no header can hold it.
    """
    key = os.environ.get(VARIABLE, "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise ConfigError(f"{VARIABLE} must be visible ASCII characters without spaces.")
    return {"authorization": f"Bearer {key}"} if key else {}
