"""The last tier: its one model is waited for or called, and its text goes to the client as it comes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from serve_app.core.running.alone import ask_alone
from serve_app.core.running.budget import unaffordable
from serve_app.core.running.calls import Calls, Key
from serve_app.core.running.members import refused
from serve_app.core.running.progress import TierStarted
from serve_app.core.running.prompts import prompts
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Delta, Failure
from serve_app.core.types.outcome import Call, TierResult
from serve_app.core.types.policy import Decision


async def ask_target(run: Run, calls: Calls) -> AsyncGenerator[Delta | TierResult, None]:
    """Yield the target's text, then its `TierResult`.

    A call that an earlier tier made is waited for, with that tier's time limit and in one piece. If it fails, before or
    meanwhile, the target is called once more, with the last tier's limit, and streamed if the run streams; but not if
    it refused the request, if some of its text has been yielded, or if the run's budget does not allow another call.
    """
    started, number = run.clock(), len(run.tiers) - 1
    tier = run.tiers[number]
    run.tell(TierStarted(number, tier))
    while True:
        [(key, prompt)] = prompts(run, number)
        carried = calls.carried(tier.models)
        if not (carried and _worth_another_call(run, calls, key)):
            async with aclosing(ask_alone(run, calls, key, prompt)) as deltas:
                async for delta in deltas:
                    yield delta
            if not (carried and _worth_another_call(run, calls, key)):
                break
        calls.forget(key)
    [answer] = calls.answers([key])
    decision = Decision(True, "last_tier", selected=0)
    answered = (Call(tier.models[0], answer),)
    result = TierResult(tier, answered, decision, carried=carried, elapsed_s=run.clock() - started)
    run.results.append(result)
    yield result


def _worth_another_call(run: Run, calls: Calls, key: Key) -> bool:
    """Return whether a call has failed, and another one might not."""
    answer = calls.ended(key)
    if not isinstance(answer, Failure) or refused(answer) or run.first_text_s is not None:
        return False
    return unaffordable(run, [key[0]]) is None
