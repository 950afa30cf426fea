"""A running server as the source of answers.

The engine `openai_api` is not used here, since it hides what `collect` records: the decision record in the body, the
server's own message and status, and answers without the log-probabilities that were requested. Requests are written and
answers read by the same `engines.wire`.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias, cast, get_args

from serve_app.common import retries
from serve_app.common.client_key import REFUSED, key_headers, refusal
from serve_app.common.loopback import is_loopback
from serve_app.core.record import CallRecord
from serve_app.core.record_json import from_json
from serve_app.core.text.characters import whole
from serve_app.core.types.answer import Answer, Failure, FailureKind
from serve_app.core.types.prompt import Prompt
from serve_app.engines.base import Meter
from serve_app.engines.running.answer import failure
from serve_app.engines.wire.answer import Reading
from serve_app.engines.wire.dialect import Dialect
from serve_app.engines.wire.request import request_body
from serve_app.errors import EngineError, ServerError, UsageError, choices
from serve_app.evaluation.collect.sources import Ask

if TYPE_CHECKING:
    import httpx

Object: TypeAlias = dict[str, Any]
"""A JSON object."""
FULL = 429
KINDS: dict[int, FailureKind] = {408: "timeout", FULL: "rate_limited"}
"""Refusals that say nothing of the request: other servers' time-outs, and any server's that stays full."""
MOST_RETRIES = 5
"""Retries of a request that the server had no room for (HTTP 429), after the seconds that it names."""
GRACE_S = 30.0
"""Seconds beyond a prompt's own time limit in which a server may still report that it timed out."""


class Server:
    """A running OpenAI-compatible server, whose models are asked one by one under their own names.

    `url` is the server's, with or without `/v1`. Latencies come from this server's decision record, so without network
    and queue; another server's are measured here. A model that fails is data, and so is an answer that cannot
    be read; a server that cannot be reached, or that refuses the request, raises `ServerError`. One that has no room is
    asked again `MOST_RETRIES` times. The API key is that of `CASCADE_API_KEY`.
    """

    def __init__(self, url: str, concurrency: int) -> None:
        self._base = url.rstrip("/").removesuffix("/v1")
        self._concurrency = concurrency

    @asynccontextmanager
    async def open(self, model: str) -> AsyncIterator[Ask]:
        """Yield the model, ready to be asked. Raises `ServerError` if no server has it, `UsageError` for no address."""
        import httpx

        try:
            local = is_loopback(httpx.URL(self._base).host)
            limits = httpx.Limits(max_connections=self._concurrency)
            async with httpx.AsyncClient(trust_env=not local, limits=limits, headers=key_headers()) as client:
                await self._check(client, model)
                yield lambda prompt: self._ask(client, model, prompt)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise UsageError(
                f"{self._base!r} is not the address of a server; one looks like http://127.0.0.1:8000."
            ) from None
        except httpx.HTTPError as error:
            cause = str(error).rstrip(".") or type(error).__name__
            raise ServerError(f"Lost the connection to {self._base}: {cause}.") from error

    async def _check(self, client: "httpx.AsyncClient", model: str) -> None:
        import httpx

        try:
            response = await client.get(f"{self._base}/v1/models")
        except httpx.UnsupportedProtocol:
            raise
        except httpx.TransportError as error:
            raise ServerError(f"No server answers at {self._base}.") from error
        body = _json(response)
        if response.status_code in REFUSED:
            raise ServerError(refusal(self._base, response.status_code, _message(body)))
        if not response.is_success or not isinstance(body.get("data"), list):
            status = f"HTTP {response.status_code} from /v1/models"
            raise ServerError(f"{self._base} is not an OpenAI-compatible server ({status}).")
        names = [card.get("id") for card in body["data"] if isinstance(card, dict)]
        models = [whole(name) for name in names if isinstance(name, str)]
        if model not in models:
            raise ServerError(f"The server at {self._base} has no model {model!r}. {choices(model, models)}")

    async def _ask(self, client: "httpx.AsyncClient", model: str, prompt: Prompt) -> Answer:
        import httpx

        started, url = perf_counter(), f"{self._base}/v1/chat/completions"
        wait_s = None if prompt.timeout_s is None else prompt.timeout_s + GRACE_S
        body = request_body(self._dialect(model), prompt)
        try:
            response = await client.post(url, json=body, timeout=httpx.Timeout(wait_s))
            for retry in range(MOST_RETRIES):
                if response.status_code != FULL:
                    break
                pause_s = retries.wait_s(retry, random.random(), retries.named_wait_s(response.headers))
                if pause_s is None:
                    break
                await asyncio.sleep(pause_s)
                started = perf_counter()
                response = await client.post(url, json=body, timeout=httpx.Timeout(wait_s))
        except httpx.TimeoutException:
            message = f"The server did not answer within {wait_s} s."
            return Failure("timeout", message, latency_s=perf_counter() - started, estimated=True)
        reply, elapsed_s = _json(response), perf_counter() - started
        if response.is_success and reply.get("choices"):
            return self._read(model, prompt, reply, started)
        return self._failure(model, response, reply, elapsed_s)

    def _dialect(self, model: str) -> Dialect:
        import httpx

        return Dialect(model, httpx.URL(self._base).netloc.decode(), stream=False)

    def _read(self, model: str, prompt: Prompt, body: Object, started: float) -> Answer:
        elapsed_s, call, meter = perf_counter() - started, _call(model, body), Meter()
        if not _has_logprobs(body):
            prompt = replace(prompt, sampling=replace(prompt.sampling, logprobs=False))
        try:
            # This server has separated the thoughts by its config, so its text is taken as it is.
            dialect = self._dialect(model)
            reading = Reading(dialect if call is None else replace(dialect, reasoning=None), prompt, meter)
            reading.read(body)
            answer = reading.generation()
        except EngineError as error:
            return failure(error, prompt, meter, started)
        if call is None:
            return replace(answer, latency_s=elapsed_s, first_token_s=None)
        estimated = call.estimated or answer.estimated
        return replace(answer, latency_s=call.latency_s, first_token_s=call.first_token_s, estimated=estimated)

    def _failure(self, model: str, response: "httpx.Response", body: Object, elapsed_s: float) -> Failure:
        error = _error(body)
        missing = "an answer" if response.is_success else "an error body"
        message = _message(body) or f"HTTP {response.status_code} without {missing}."
        call = _call(model, body)
        kind: FailureKind
        if error.get("code") == "context_length_exceeded":
            kind = "context_length"
        elif response.status_code in KINDS:
            kind = KINDS[response.status_code]
        elif response.is_server_error or response.is_success:
            kind = cast("FailureKind", error["code"]) if error.get("code") in get_args(FailureKind) else "error"
        elif response.status_code in REFUSED:
            raise ServerError(refusal(self._base, response.status_code, _message(body)))
        else:
            raise ServerError(f"The server at {self._base} refused the request to {model!r}: {message}")
        return Failure(
            kind,
            message,
            call.prompt_tokens if call else 0,
            call.completion_tokens if call else 0,
            call.latency_s if call else elapsed_s,
            estimated=call is None or call.estimated,
        )


def _has_logprobs(body: Object) -> bool:
    """Return whether every token of the answer has a log-probability; some servers send null for some."""
    try:
        choice = body["choices"][0]
        content = choice["logprobs"]["content"]
        complete = all(isinstance(item["token"], str) and isinstance(item["logprob"], int | float) for item in content)
        return complete and bool(content or not choice["message"]["content"])
    except (LookupError, TypeError):
        return False


def _call(model: str, body: Object) -> CallRecord | None:
    """Return what the decision record has on the model, or None if the server sent no such record."""
    return from_json(body.get("cascade")).models.get(model)


def _error(body: Object) -> Object:
    """Return the error in a body, or an empty object."""
    error = body.get("error")
    return error if isinstance(error, dict) else {}


def _message(body: Object) -> str | None:
    """Return the server's own message in the body of an error, or None."""
    message = _error(body).get("message")
    return whole(str(message)) if message else None


def _json(response: "httpx.Response") -> Object:
    """Return the body, or an empty object if it is not a JSON object. Bytes that are not UTF-8 are read as U+FFFD."""
    try:
        body = json.loads(response.content.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        body = None
    return body if isinstance(body, dict) else {}
