"""One model whose answer is returned whatever it is: its text goes to the client as it comes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from serve_app.core.running.calls import CANCELLED, Calls, Key
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Delta, Generation
from serve_app.core.types.prompt import Prompt


async def ask_alone(run: Run, calls: Calls, key: Key, prompt: Prompt) -> AsyncGenerator[Delta, None]:
    """Yield the model's text, in pieces if the run streams, and settle the call; note when the first piece came."""
    calls.start([(key, prompt)], stream=run.stream)
    async with aclosing(_deltas(calls, key)) as deltas:
        async for delta in deltas:
            if (delta.text or delta.reasoning) and run.first_text_s is None:
                run.first_text_s = run.clock() - run.started
            yield delta


async def _deltas(calls: Calls, key: Key) -> AsyncGenerator[Delta, None]:
    async with aclosing(calls.deltas(key)) as deltas:
        async for delta in deltas:
            yield delta
    calls.ended(key)
    await calls.settle([key], CANCELLED)
    [answer] = calls.answers([key])
    if isinstance(answer, Generation) and not calls.streamed(key):
        yield as_delta(answer)


def as_delta(answer: Answer) -> Delta:
    """Return a whole answer, which is not a failure, as one piece."""
    assert isinstance(answer, Generation)
    return Delta(answer.text, answer.prompt_tokens, answer.completion_tokens, reasoning=answer.reasoning)
