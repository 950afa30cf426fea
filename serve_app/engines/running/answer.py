"""An engine asked by those for whom a failed model is data: its errors as a `Failure` with what it had cost by then."""

import asyncio
from time import perf_counter

from serve_app.core.types import Answer, Failure, FailureKind, Message, Prompt, Sampling
from serve_app.engines.base import Engine, Meter
from serve_app.errors import ContextTooLongError, EngineError


async def answer(engine: Engine, prompt: Prompt) -> Answer:
    """The whole answer, or the failure; cancelling stops the work."""
    meter, started = Meter(), perf_counter()
    try:
        async with asyncio.timeout(prompt.timeout_s):
            return await engine.generate(prompt, meter)
    except (TimeoutError, EngineError) as error:
        return failure(error, prompt, meter, started)


def failure(error: Exception, prompt: Prompt, meter: Meter, started: float) -> Failure:
    """What `error` comes to as data; `started` is the `perf_counter` of asking."""
    kind: FailureKind = "error"
    message = str(error)
    if isinstance(error, TimeoutError):
        kind, message = "timeout", f"No answer within {prompt.timeout_s} s."
    elif isinstance(error, ContextTooLongError):
        kind = "context_length"
    spent_s = perf_counter() - started
    return Failure(kind, message, meter.prompt_tokens, meter.completion_tokens, spent_s, meter.estimated)


async def warm_up(engine: Engine) -> None:
    """One tiny request: the first to a fresh model takes seconds more than those after it."""
    await engine.generate(Prompt((Message("user", "Hello"),), sampling=Sampling(max_tokens=2)), Meter())
