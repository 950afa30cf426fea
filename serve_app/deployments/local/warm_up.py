"""The first requests to a server that has just started."""

import httpx

from serve_app.common.client_key import key_headers
from serve_app.config.serve_file import ServeFile
from serve_app.deployments.local.sentences import first_line
from serve_app.errors import ServerError


def warm_up(file: ServeFile) -> None:
    """Send one short request to each cascade, so that the first user does not wait for what is loaded lazily.

    Does nothing if the server has API keys and the environment has none of them.
    """
    # This machine is not behind its own proxy, and a certificate names the host that clients use, not this address.
    with httpx.Client(base_url=file.url, timeout=300, trust_env=False, verify=False, headers=key_headers()) as client:
        for cascade in file.application.args.cascades:
            body = {
                "model": cascade,
                "max_tokens": 1,
                "messages": [{"role": "user", "content": "Hello"}],
                "cascade": {"force": "defer"} if len(file.application.args.cascades[cascade].tiers) > 1 else {},
            }
            try:
                response = client.post("/v1/chat/completions", json=body)
            except httpx.HTTPError as error:
                raise ServerError(f"The server runs, but cannot be reached at {file.url}: {error}.") from None
            if response.status_code >= 500:
                raise ServerError(f"The cascade {cascade!r} does not answer: {_reason(response)}")


def _reason(response: httpx.Response) -> str:
    """Return OpenAI's error message, or the first line of an answer that has none, such as Ray Serve's own."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return first_line(response.text)
