"""The API key that our own commands send to a server."""

import os

VARIABLE = "CASCADE_API_KEY"


def key_headers() -> dict[str, str]:
    """Return the header with the key that the environment variable has; nothing if it is not set."""
    key = os.environ.get(VARIABLE, "").strip()
    return {"authorization": f"Bearer {key}"} if key else {}
