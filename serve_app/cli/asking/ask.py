"""`cascade ask`: one question to a running server. Imports httpx and rich late, since a command must start fast."""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from serve_app.cli.asking.text import Body, clean
from serve_app.common.client_key import REFUSED, key_headers, refusal
from serve_app.common.loopback import is_loopback
from serve_app.errors import RequestError, ServerError, UnknownModelError, UsageError

if TYPE_CHECKING:
    import httpx

CONNECT_S = 5.0


def ask(
    url: str,
    question: str,
    *,
    model: str = "default",
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    threshold: float | None = None,
    signal: str | None = None,
    force: Literal["accept", "defer"] | None = None,
    timeout_s: float = 300,
) -> Body:
    """Return the response body of one chat completion, with every model's answer in its decision record.

    `url` is the server's, with or without `/v1`. The server's defaults apply to what is None. A spinner turns on stderr
    if that is a terminal. Raises `UsageError` for what cannot be sent, `RequestError` if the server refuses the
    request, `ServerError` if the server is missing, broken or not a cascade server.
    """
    base = url.rstrip("/").removesuffix("/v1")
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages.append({"role": "user", "content": question})
    options = {"threshold": threshold, "signal": signal, "force": force}
    request = {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": temperature}
    with _spinner(f"asking {model}"):
        response = _post(
            base, _without_nulls(request) | {"cascade": {"include_answers": True} | _without_nulls(options)}, timeout_s
        )
    return _body(base, response)


def _without_nulls(values: Body) -> Body:
    return {name: value for name, value in values.items() if value is not None}


def _spinner(text: str) -> AbstractContextManager[Any]:
    from rich.console import Console
    from rich.text import Text

    # Not rich's own notion of a terminal: a CI job with FORCE_COLOR must not get a spinner.
    return Console(stderr=True).status(Text(text)) if sys.stderr.isatty() else nullcontext()


def _post(base: str, request: Body, timeout_s: float) -> "httpx.Response":
    import httpx

    try:
        host = httpx.URL(base).host
        timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
        with httpx.Client(timeout=timeout, trust_env=not is_loopback(host)) as client:
            return client.post(f"{base}/v1/chat/completions", json=request, headers=key_headers())
    except ValueError as error:  # half of a surrogate pair
        raise UsageError(f"The request cannot be written as JSON: {error}.") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise UsageError(f"{base!r} is not the address of a server; one looks like http://127.0.0.1:8000.") from None
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        if "SSL" in str(error):
            raise ServerError(f"No secure connection to {base}: {error}.") from error
        raise ServerError(
            f"No server answers at {base}. Start one with: cascade serve (in a clone: make serve), "
            "or name another with --url."
        ) from error
    except httpx.TimeoutException as error:
        raise ServerError(f"The server at {base} did not answer within {timeout_s:g} s.") from error
    except httpx.HTTPError as error:
        raise ServerError(
            f"The connection to {base} broke before there was an answer: {error}".rstrip(".") + "."
        ) from error


def _body(base: str, response: "httpx.Response") -> Body:
    """Return the body of a successful response; otherwise raise the server's own message as an error."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    body = body if isinstance(body, dict) else {}
    error = body.get("error")
    message = error.get("message") if isinstance(error, dict) else None
    message = clean(message) if isinstance(message, str) else None
    if response.status_code in REFUSED:
        raise RequestError(refusal(base, response.status_code, message))
    if isinstance(error, dict) and message is not None:
        if response.is_server_error:
            raise ServerError(message)
        kind = UnknownModelError if error.get("code") == "model_not_found" else RequestError
        raise kind(message, error.get("param"), error.get("code"))
    if response.is_server_error:
        raise ServerError(f"The server at {base} failed with {_status(response)}.")
    if response.is_success and body.get("choices") and isinstance(body.get("cascade"), dict):
        return body
    if response.status_code == 404 and "/-/routes" in response.text:  # Ray Serve, where no application is yet
        raise ServerError(f"The server at {base} runs, but serves no cascade there: it may still be starting.")
    raise ServerError(f"{base} is not a cascade server: /v1/chat/completions sent {_status(response)}.")


def _status(response: "httpx.Response") -> str:
    line = " ".join(clean(response.text[:1000]).split())
    detail = f": {line[:100].rstrip('. ')}" if line and "text/plain" in response.headers.get("content-type", "") else ""
    return f"HTTP {response.status_code}{detail}"
