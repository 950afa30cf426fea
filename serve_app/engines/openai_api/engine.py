"""Models behind OpenAI-compatible endpoints, through the official `openai` client.

What the client does and what we make of it:

* It does not retry: we do, by `max_retries`, on 408, 409, 429, 5xx, time-outs and lost connections: after the seconds
  that Retry-After names (up to two minutes), else after a random part of 0.5 to 8 s; never once the request's time
  would be over, and within a budget for all requests together. A stream that has begun is not tried again; a whole
  answer (`stream: false`) that breaks off is. What an endpoint charges for tries before the last one is not known, and
  so not counted.
* Its pool holds as many connections as `max_concurrency` may be; further requests wait on our side and can leave at
  once. Cancelling closes the request's connection, which is how an endpoint learns of it.
* It is given the key with each request, so a mounted key that changes holds from the next one on.

Answers are streamed from the endpoint even if nobody streams them here: so work cut short is charged by what had come.
An answer that the endpoint's content filter cut is a failure, not an answer: members then defer.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from serve_app.core.types.answer import Delta, Generation
from serve_app.core.types.prompt import Prompt
from serve_app.engines.base import EngineCounters, Meter, last_generation
from serve_app.engines.openai_api.config import NoKeyError, OpenAiApiConfig, read_key
from serve_app.engines.openai_api.errors import translated
from serve_app.engines.openai_api.events import clean_events
from serve_app.engines.openai_api.retrying import Retries, Tries
from serve_app.engines.running.slots import Slots
from serve_app.engines.wire.answer import Reading
from serve_app.engines.wire.errors import RefusedError, unreadable
from serve_app.engines.wire.request import request_body
from serve_app.errors import ContextTooLongError, EngineError, RateLimitedError, UnsupportedRequestError

FREE = (NoKeyError, RefusedError, UnsupportedRequestError, RateLimitedError, ContextTooLongError)
"""Errors after which the endpoint did no work, unless an answer had begun. After a time-out it may have."""


class OpenAiApiEngine:
    """One model of one endpoint. Counters are this engine's own, not the endpoint's."""

    def __init__(self, config: OpenAiApiConfig, client: Any) -> None:
        self._config = config
        self._dialect = config.dialect
        self._client = client
        self._slots = Slots(config.max_concurrency)
        self._retries = Retries(config.max_retries)

    @classmethod
    async def load(cls, config: OpenAiApiConfig, weights: Path | None = None) -> "OpenAiApiEngine":
        """Make a client, without a request to the endpoint. Raises `EngineError` if the key is missing."""
        return cls(config, _client(config))

    async def generate(self, prompt: Prompt, meter: Meter) -> Generation:
        return await last_generation(self.stream(prompt, meter))

    async def stream(self, prompt: Prompt, meter: Meter) -> AsyncGenerator[Delta | Generation, None]:
        config = self._config
        if prompt.sampling.logprobs and not config.logprobs:
            raise EngineError(f"The model {self._dialect} gives no log-probabilities.")
        tries = self._retries.begin(prompt.timeout_s)
        async with self._slots.slot(meter):
            reading = Reading(self._dialect, prompt, meter)
            try:
                async with aclosing(self._chunks(prompt, tries)) as chunks:
                    while (chunk := await self._next(chunks)) is not None:
                        delta = reading.read(chunk)
                        if delta is not None:
                            yield delta
            except FREE:
                if not reading.begun:
                    meter.prompt_tokens, meter.estimated = 0, False
                raise
            if not reading.begun:
                raise EngineError(
                    f"The model {self._dialect} sent no event stream; if it gives only whole "
                    "answers, set stream: false."
                )
            answer = reading.generation()
        yield answer

    def counters(self) -> EngineCounters:
        return self._slots.counters()

    async def close(self) -> None:
        self._slots.close()
        await self._client.close()

    async def _chunks(self, prompt: Prompt, tries: Tries) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the endpoint's chunks as plain dictionaries; a whole answer is the only one."""
        body = request_body(self._dialect, prompt)
        api = self._client.chat.completions if prompt.text is None else self._client.completions
        headers = {**prompt.trace, **self._config.headers, **_authorization(self._config)}
        # The client would let `extra_body` override the request's own fields.
        extra = {name: value for name, value in self._config.extra_body.items() if name not in body}
        if (limit := self._config.max_reasoning_tokens_field) in body:  # the client knows OpenAI's own fields only
            extra[limit] = body.pop(limit)
        response = await _tried(lambda: api.create(**body, extra_body=extra, extra_headers=headers), tries)
        if not self._config.stream:
            yield self._plain(response)
            return
        async with response:
            async for chunk in response:
                yield self._plain(chunk)

    def _plain(self, item: Any) -> dict[str, Any]:
        """Return the client's object as it came over the wire. Raises EngineError for what is not a JSON object."""
        import openai

        if not isinstance(item, openai.BaseModel):
            raise unreadable(self._dialect)
        return item.to_dict(warnings=False)

    async def _next(self, chunks: AsyncGenerator[dict[str, Any], None]) -> dict[str, Any] | None:
        async with self._slots.while_open():
            with translated(self._config, self._dialect):
                return await anext(chunks, None)


async def _tried(create: Callable[[], Awaitable[Any]], tries: Tries) -> Any:
    """Return the client's response to a request, which is sent again as often as its tries allow."""
    import openai

    while True:
        try:
            return await create()
        except openai.APIError as error:
            if (wait := tries.wait_s(error)) is None:
                raise
        await asyncio.sleep(wait)


def _client(config: OpenAiApiConfig) -> Any:
    try:
        import openai
    except ImportError as error:
        message = "The openai_api engine needs the openai client: pip install 'semantic-cascade[openai]'."
        raise EngineError(message) from error
    _authorization(config)
    options: dict[str, Any] = {
        "api_key": "given with each request",
        # Waiting for a connection of the pool is not the endpoint's delay.
        "timeout": openai.Timeout(config.timeout_s, connect=config.connect_timeout_s, pool=None),
        "max_retries": 0,  # the client knows neither our budget nor the request's time limit
        "http_client": openai.DefaultAsyncHttpxClient(event_hooks={"response": [clean_events]}),
    }
    if config.api_version is not None:
        return openai.AsyncAzureOpenAI(azure_endpoint=config.base_url, api_version=config.api_version, **options)
    return openai.AsyncOpenAI(base_url=config.base_url, **options)


def _authorization(config: OpenAiApiConfig) -> dict[str, Any]:
    """Return the header with the current key, or the value that makes the client send no key. Raises NoKeyError."""
    import openai

    if config.keyless:
        return {"Authorization": openai.Omit()}
    if config.api_version is not None:
        return {"Authorization": openai.Omit(), "api-key": read_key(config)}
    return {"Authorization": f"Bearer {read_key(config)}"}
