"""Errors in answers as `EngineError`s that name model, host and status, never the key or a prompt's text."""

import re
from typing import Any

from serve_app.engines.wire.dialect import Dialect
from serve_app.errors import ContextTooLongError, EngineError, RateLimitedError, UnsupportedRequestError

_STATUS = {
    401: "refused the key for",
    403: "does not allow the use of",
    404: "does not have",
    429: "takes no more requests now, or has no quota left, for",
}
_TOO_LONG = re.compile(r"context (?:length|size|window|holds)|maximum model length|tokens`? must be <=", re.IGNORECASE)
# OpenAI, vLLM, this server, Text Generation Inference; then the same for what the context holds.
_PROMPT_TOKENS = re.compile(
    r"resulted in (\d+) tokens|\((\d+) in the (?:messages|prompt)|prompt contains (?:at least )?(\d+) input tokens"
    r"|[Ii]nput length \((\d+)\)|prompt \(length (\d+)\)|prompt has (\d+) tokens|request has (\d+) input tokens"
    r"|Given: (\d+) `inputs`"
)
_CONTEXT_TOKENS = re.compile(
    r"context (?:length|size|window) (?:is|of) (?:only )?(\d+)|context length \((\d+)\)|context holds (\d+)"
    r"|maximum model length of (\d+)|must be <= (\d+)"
)

_REQUEST_FAULTS = (400, 413, 415, 422)
"""The endpoint cannot honour the request as it is; a retry would only fail again."""
_UNCERTAIN = (408, 504)
"""Time-outs of the endpoint, or of a proxy before it: it may have worked until then."""


class RefusedError(EngineError):
    """The endpoint did no work that it would charge: it was not reached, or answered with an error."""


def unreadable(dialect: Dialect) -> EngineError:
    """Build the error for a malformed response."""
    return EngineError(f"The model {dialect} sent a malformed OpenAI response.")


def refusal(
    dialect: Dialect, error: object, status: int | None = None, retry_after_s: float | None = None
) -> EngineError:
    """Build the error for an error body; without a `status` it came inside an answer.

    Its message is not repeated, since it may quote the prompt or the key. `retry_after_s` is what the endpoint advises.
    """
    body = error if isinstance(error, dict) else {}
    if (too_long := _too_long(body)) and (status is None or 400 <= status < 500):
        return too_long
    did = _STATUS.get(status or 0) or ("refused the request to" if status and status < 500 else "failed to answer as")
    code = body.get("code")  # some endpoints repeat the status here, as a number
    parts = [code if isinstance(code, str) else body.get("type"), body.get("param")]
    words = [word for word in parts if isinstance(word, str) and re.fullmatch(r"[A-Za-z_][\w.\[\]-]{0,59}", word)]
    details = ", ".join(([f"HTTP {status}"] if status else ["in its answer"]) + words)
    message = f"The endpoint {dialect.host} {did} {dialect.model!r} ({details})."
    if status in _REQUEST_FAULTS:
        return UnsupportedRequestError(message)
    if status == 429:
        return RateLimitedError(message, retry_after_s)
    return EngineError(message) if status in _UNCERTAIN else RefusedError(message)


def _too_long(body: dict[str, Any]) -> ContextTooLongError | None:
    message = str(body.get("message") or "")
    coded = body.get("code") == "context_length_exceeded" or body.get("type") == "exceed_context_size_error"
    if not coded and not _TOO_LONG.search(message):
        return None
    # llama-server has the numbers in fields of their own.
    prompt_tokens = body.get("n_prompt_tokens") or _number(_PROMPT_TOKENS, message)
    return ContextTooLongError(prompt_tokens, body.get("n_ctx") or _number(_CONTEXT_TOKENS, message))


def _number(pattern: re.Pattern[str], message: str) -> int | None:
    match = pattern.search(message)
    return int(next(filter(None, match.groups()))) if match else None
