"""One request in progress: the calls of its models, within their time limits, and all that they spend."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import perf_counter

from serve_app.core.cost import Speed, cut_short
from serve_app.core.deciding.deferral import Prospects
from serve_app.core.protocols import Model, Scorer
from serve_app.core.types import Answer, Call, Delta, Failure, Force, Generation, Prompt, Tier, TierResult

GRACE_S = 1.0
"""How much later than the model itself the cascade gives up on it: only the model knows the tokens that it spent."""


@dataclass
class Run:
    """One request in progress, and all that it has spent so far, also if it is cut short.

    `models` and `scorer` do the work; `speeds` (by model) are observed, and serve to estimate uncounted tokens.
    `escalated` asks the target alone, as if all tiers before it had deferred. `fallback` lets the best member answer
    stand in for a target that failed. `choices` is how many answers are wanted of the model whose answer is returned.
    `stream` asks the target for deltas; `first_text_s` is how long its first text took, from `started`. `observer`
    belongs to whatever follows the run from outside; the cascade does not look at it.
    """

    prompt: Prompt
    tiers: Sequence[Tier]
    models: Mapping[str, Model]
    scorer: Scorer
    force: Force | None = None
    fallback: bool = False
    escalated: bool = False
    stream: bool = False
    choices: int = 1
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    results: list[TierResult] = field(default_factory=list)
    started: float = field(default_factory=perf_counter)
    first_text_s: float | None = None
    observer: object | None = None

    @property
    def first(self) -> Tier:
        """Return the tier that is asked first."""
        return self.tiers[-1 if self.escalated else 0]

    @property
    def target(self) -> str:
        """Return the name of the last tier's model."""
        return self.tiers[-1].models[0]

    def finished(self, call: Call) -> Answer:
        """Note a call, learn from it how fast its model is, and return the answer within the request's limits."""
        answer = call.answer
        if isinstance(answer, Generation):
            if call.model in self.speeds:
                self.speeds[call.model].observe(answer)
            if len(answer.tool_calls) > 1 and not self.prompt.parallel_tool_calls:
                # Engines are told to stop after one call, but some models make more.
                answer = replace(answer, tool_calls=answer.tool_calls[:1])
        self.calls.append(Call(call.model, answer))
        return answer

    def abandoned(self, model: str, failure: Failure, started: float, latest: Delta | None = None) -> Answer:
        """Note a call that was cut short, with the engine's token counts or an estimate, and return it as a failure."""
        peers = [call.answer for call in self.calls]
        elapsed_s = perf_counter() - started
        speed = self.speeds.get(model)
        failure = cut_short(failure, self.prompt, elapsed_s=elapsed_s, latest=latest, peers=peers, speed=speed)
        return self.finished(Call(model, failure))


def refused(answer: Answer) -> bool:
    """Return whether the model cannot do what the request asks for."""
    return isinstance(answer, Failure) and answer.kind == "refused"


async def gather(run: Run, tier: Tier, prompts: Sequence[Prompt]) -> list[Answer]:
    """Return the answer of every model of the tier to its own prompt, in order.

    Calls that still run once the tier is lost or out of time are stopped.
    """
    models = [run.models[name] for name in tier.models]
    started = perf_counter()
    tasks = [asyncio.create_task(model.generate(prompt)) for model, prompt in zip(models, prompts, strict=True)]
    reason = _CANCELLED
    try:
        reason = await _wait(run, tier, tasks)
    finally:
        try:
            await _cancel(tasks)
        finally:  # also if a second cancellation arrives during the first
            answers = _settle(run, tier, tasks, reason, started)
    return answers


async def _wait(run: Run, tier: Tier, tasks: Sequence[asyncio.Task[Answer]]) -> Failure:
    """Wait as long as the tier can accept something, and return why not longer.

    Every answer is waited for if one may stand in for the target, or if the decision is forced. What a model raises is
    a bug, and raised again.
    """
    deadline = None if tier.timeout_s is None else perf_counter() + tier.timeout_s + GRACE_S
    pending, prospects = set(tasks), Prospects(tier)
    while pending and (run.fallback or run.force or prospects.hopeful):
        left_s = None if deadline is None else max(0.0, deadline - perf_counter())
        done, pending = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return _timeout(tier)
        for index, task in enumerate(tasks):
            if task in done:
                prospects.arrived(index, task.result())
        if any(refused(task.result()) for task in done):
            return _REFUSED
    return _LOST


def _timeout(tier: Tier) -> Failure:
    return Failure("timeout", f"No answer within {tier.timeout_s} s.")


_LOST = Failure("cancelled", "Stopped: the other models' answers, or failures, leave nothing to accept in this tier.")
_REFUSED = Failure("cancelled", "Stopped: another model refused the request.")
_CANCELLED = Failure("cancelled", "Stopped: the request was cancelled.")
_UNFINISHED = Failure("error", "The model's stream ended without an answer.")


async def _cancel(tasks: Sequence[asyncio.Task[Answer]]) -> None:
    """Cancel the tasks that still run, and wait until all have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _settle(
    run: Run, tier: Tier, tasks: Sequence[asyncio.Task[Answer]], reason: Failure, started: float
) -> list[Answer]:
    """Note every call and return the answers, in order.

    Finished answers come first, because the tokens of calls that were cut short are estimated from them.
    """
    finished: dict[int, Answer] = {}
    for i, task in enumerate(tasks):
        if not task.cancelled() and not task.exception() and not _uncounted(task.result()):
            finished[i] = run.finished(Call(tier.models[i], task.result()))
    for i, task in enumerate(tasks):
        if i not in finished:
            answer = None if task.cancelled() or task.exception() else task.result()
            failure = answer if isinstance(answer, Failure) else reason
            finished[i] = run.abandoned(tier.models[i], failure, started)
    return [finished[i] for i in range(len(tasks))]


def _uncounted(answer: Answer) -> bool:
    return isinstance(answer, Failure) and answer.uncounted


async def stream(run: Run, tier: Tier, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
    """Yield the target's deltas, then its answer. The time limit does not run while a consumer reads."""
    name = tier.models[0]
    started = perf_counter()
    left_s = None if tier.timeout_s is None else tier.timeout_s + GRACE_S
    latest: Delta | None = None
    answer: Answer | None = None
    reason = _CANCELLED
    try:
        async with aclosing(run.models[name].stream(prompt)) as items:
            while True:
                wait_started = perf_counter()
                try:
                    async with asyncio.timeout(left_s) as clock:
                        item = await anext(items)
                except StopAsyncIteration:
                    reason = _UNFINISHED
                    break
                except TimeoutError:
                    if not clock.expired():  # raised by the model itself, which is a bug
                        raise
                    reason = _timeout(tier)
                    break
                if left_s is not None:
                    left_s -= perf_counter() - wait_started
                if isinstance(item, Delta):
                    latest = item
                    yield item
                elif isinstance(item, Failure) and item.uncounted:
                    reason = item
                    break
                else:
                    answer = run.finished(Call(name, item))
    finally:
        if answer is None:
            answer = run.abandoned(name, reason, started, latest)
    yield answer
