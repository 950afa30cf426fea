"""Ask an engine and get its errors as data: a `Failure` with the tokens and seconds spent by then."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import perf_counter

from serve_app.core.types.answer import Answer, Delta, Failure, FailureKind, Generation
from serve_app.core.types.prompt import Message, Prompt, Sampling
from serve_app.engines.base import Engine, Meter
from serve_app.engines.running.promise import checked
from serve_app.errors import ContextTooLongError, EngineError, RateLimitedError, UnsupportedRequestError


async def answer(engine: Engine, prompt: Prompt) -> Answer:
    """Return the whole answer, or the failure. Cancelling stops the work."""
    meter, started = Meter(), perf_counter()
    try:
        async with asyncio.timeout(prompt.timeout_s):
            return checked(prompt, await engine.generate(prompt, meter))
    except (TimeoutError, EngineError) as error:
        return failure(error, prompt, meter, started)


async def stream_answer(engine: Engine, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
    """Yield deltas, then the whole answer or the failure; closing the generator stops the work.

    The time limit is for the whole stream, and runs also while a consumer reads.
    """
    meter, started = Meter(), perf_counter()
    deadline = None if prompt.timeout_s is None else asyncio.get_running_loop().time() + prompt.timeout_s
    try:
        async with aclosing(engine.stream(prompt, meter)) as items:
            while True:
                async with asyncio.timeout_at(deadline):
                    item = await anext(items)
                yield checked(prompt, item) if isinstance(item, Generation) else item
    except StopAsyncIteration:
        return
    except (TimeoutError, EngineError) as error:
        yield failure(error, prompt, meter, started)


def failure(error: Exception, prompt: Prompt, meter: Meter, started: float) -> Failure:
    """Return `error` as data; `started` is the `perf_counter` at the start of the request."""
    kind: FailureKind = "error"
    message = str(error)
    if isinstance(error, TimeoutError):
        kind, message = "timeout", f"No answer within {prompt.timeout_s} s."
    elif isinstance(error, ContextTooLongError):
        kind = "context_length"
    elif isinstance(error, UnsupportedRequestError):
        kind = "refused"
    elif isinstance(error, RateLimitedError):
        kind = "rate_limited"
    return Failure(
        kind,
        message,
        meter.prompt_tokens,
        meter.completion_tokens,
        perf_counter() - started,
        meter.estimated,
        param=error.param if isinstance(error, UnsupportedRequestError) else None,
        retry_after_s=error.retry_after_s if isinstance(error, RateLimitedError) else None,
    )


async def warm_up(engine: Engine) -> None:
    """Send one tiny request: the first to a fresh model takes seconds longer than those after it."""
    await engine.generate(Prompt((Message("user", "Hello"),), sampling=Sampling(max_tokens=2)), Meter())
