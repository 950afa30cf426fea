"""The server under load, before and beside the requests: is it ready, what can be asked, how many replicas run?"""

import json
import urllib.error
import urllib.request
from collections.abc import Collection
from typing import Any

from serve_app.common.client_key import REFUSED, key_headers, refusal
from serve_app.errors import ConfigError

from . import LoadError

TIMEOUT_S = 10.0


def check_ready(url: str, models: Collection[str]) -> None:
    """Raise `LoadError` unless `url` answers, says that it is ready, and serves all `models`."""
    status, state = _get(url, "/readyz")
    if status == 404:
        raise LoadError(f"{url} has no /readyz: is this the address of a cascade server?")
    if status != 200:
        waiting = ", ".join(state.get("waiting_for", [])) or f"status {status}"
        raise LoadError(f"{url} is not ready yet, it waits for: {waiting}. Its log says why.")
    status, listed = _get(url, "/v1/models")
    if status in REFUSED:
        error = listed.get("error")
        message = error.get("message") if isinstance(error, dict) else None
        raise LoadError(refusal(url, status, None if message is None else str(message)))
    if status != 200:
        raise LoadError(f"{url} does not list its models (status {status} from /v1/models). Its log says why.")
    served = [card["id"] for card in listed.get("data", [])]
    if unknown := sorted(set(models) - set(served)):
        raise LoadError(f"--models: {url} does not serve {', '.join(unknown)}. Available: {', '.join(served)}.")


def look(url: str) -> dict[str, Any]:
    """Return what /readyz reports, for the log: `ready`, and `replicas` by deployment ({} if unknown)."""
    try:
        status, state = _get(url, "/readyz")
    except LoadError:
        return {"ready": False, "replicas": {}}
    return {"ready": status == 200, "replicas": state.get("replicas", {})}


def _get(url: str, path: str) -> tuple[int, dict[str, Any]]:
    if not url.startswith(("http://", "https://")):
        raise LoadError(f"--host: {url!r} must be a URL such as http://127.0.0.1:8000.")
    try:
        request = urllib.request.Request(url.rstrip("/") + path, headers=key_headers())
    except ConfigError as error:
        raise LoadError(str(error)) from None
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            status, body = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise LoadError(f"{url} does not answer ({reason}). Start a server first, for example: make serve.") from error
    try:
        state = json.loads(body)
    except ValueError:
        state = {}
    return status, state if isinstance(state, dict) else {}
