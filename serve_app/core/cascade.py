"""The cascade itself: call a tier, compare its answers, accept or defer. Plain asyncio over two Protocols."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TypeAlias

from serve_app.core.agreement import agree, confide, survivors
from serve_app.core.cost import Speed, cut_short
from serve_app.core.deferral import Prospects, decide, worth_comparing
from serve_app.core.protocols import Model, Scorer
from serve_app.core.types import (
    Agreement,
    Answer,
    Call,
    Decision,
    Delta,
    Failure,
    Force,
    Generation,
    Outcome,
    Prompt,
    Scores,
    Tier,
    TierResult,
)
from serve_app.errors import CascadeError

Event: TypeAlias = TierResult | Delta | Outcome

GRACE_S = 1.0
"""How much later than the model itself the cascade gives up on it: only the model knows the tokens that it spent."""


@dataclass
class Run:
    """One request in progress, and all that it has spent so far, also if it is cut short.

    `models` and `scorer` do the work; `speeds` (by model) are observed, and serve to estimate uncounted tokens.
    `fallback` lets the best member answer stand in for a target that failed. `stream` asks the target for deltas;
    `first_text_s` is how long its first text took, from `started`. `observer` belongs to whatever follows the run from
    outside; the cascade does not look at it.
    """

    prompt: Prompt
    tiers: Sequence[Tier]
    models: Mapping[str, Model]
    scorer: Scorer
    force: Force | None = None
    fallback: bool = False
    stream: bool = False
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    results: list[TierResult] = field(default_factory=list)
    started: float = field(default_factory=perf_counter)
    first_text_s: float | None = None
    observer: object | None = None

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


async def run_cascade(run: Run) -> Outcome:
    """Run a request to its end and return the outcome."""
    async with aclosing(cascade_events(run)) as events:
        async for event in events:
            if isinstance(event, Outcome):
                return event
    raise AssertionError("cascade_events always ends with an Outcome")


async def cascade_events(run: Run) -> AsyncGenerator[Event, None]:
    """Yield a `TierResult` for each tier that ran, the answer's text as `Delta`s, and an `Outcome` at the end.

    Yielded text is never retracted. Cancelling the consumer, or closing the generator, cancels every
    model call in progress; `run.calls` then holds what was spent.
    """
    for tier in run.tiers[:-1]:
        result = await _ask_tier(run, tier)
        run.results.append(result)
        yield result
        if (refusal := _refusal(result)) is not None:
            yield _outcome(run, refusal)
            return
        if result.decision.accepted:
            accepted = _selected(result)
            assert accepted is not None
            yield _whole(accepted.answer)
            yield _outcome(run, accepted)
            return
    async with aclosing(_ask_target(run, run.tiers[-1])) as events:
        async for event in events:
            if isinstance(event, Delta) and event.text and run.first_text_s is None:
                run.first_text_s = perf_counter() - run.started
            yield event
    target = run.results[-1].calls[0]
    best = next(filter(None, map(_selected, reversed(run.results[:-1]))), None)
    if isinstance(target.answer, Failure) and run.fallback and best is not None and run.first_text_s is None:
        yield _whole(best.answer)
        yield _outcome(run, best, replaced=target.answer)
    else:
        yield _outcome(run, target)


def _selected(result: TierResult) -> Call | None:
    index = result.decision.selected
    return None if index is None else result.calls[index]


def _refusal(result: TierResult) -> Call | None:
    """Return the call that its model refused: the fault is the request's, so another model would only fail again."""
    return next((call for call in result.calls if _refused(call.answer)), None)


def _refused(answer: Answer) -> bool:
    return isinstance(answer, Failure) and answer.kind == "refused"


def _whole(answer: Answer) -> Delta:
    assert isinstance(answer, Generation)
    return Delta(answer.text, answer.prompt_tokens, answer.completion_tokens)


def _outcome(run: Run, call: Call, replaced: Failure | None = None) -> Outcome:
    return Outcome(call.answer, call.model, tuple(run.results), perf_counter() - run.started, replaced)


async def _ask_tier(run: Run, tier: Tier) -> TierResult:
    """Call all members at once and decide on their answers."""
    started = perf_counter()
    answers = await _gather(run, tier, _prompt(run, tier))
    scoring_started = perf_counter()
    calls = tuple(Call(model, answer) for model, answer in zip(tier.models, answers, strict=True))
    if any(map(_refused, answers)):
        decision = Decision(False, "refused", threshold=tier.threshold)
        return TierResult(tier, calls, decision, elapsed_s=scoring_started - started)
    judged, scores, error = await _judge(run, tier, answers)
    ended = perf_counter()
    return TierResult(
        tier=tier,
        calls=calls,
        decision=decide(tier, judged, run.force),
        judged=judged,
        scores=scores,
        scorer_error=error,
        elapsed_s=ended - started,
        scoring_s=ended - scoring_started,
    )


def _prompt(run: Run, tier: Tier) -> Prompt:
    """Return the request's prompt as this tier's models get it."""
    sampling = run.prompt.sampling
    if tier.confidence and not sampling.logprobs:
        sampling = replace(sampling, logprobs=True)
    return replace(run.prompt, sampling=sampling, timeout_s=tier.timeout_s)


async def _judge(run: Run, tier: Tier, answers: Sequence[Answer]) -> tuple[Agreement, Scores | None, str | None]:
    alive = survivors(tier, answers)
    if tier.confidence and tier.token_level:
        return confide(alive, tier.confidence), None, None
    texts = worth_comparing(alive)
    if texts is None:
        return agree(alive, None), None, None
    assert tier.signal is not None
    try:
        scores = await run.scorer.score(tier.signal, texts)
    except CascadeError as error:
        return agree(alive, None), None, str(error)
    return agree(alive, scores.similarities), scores, None


async def _gather(run: Run, tier: Tier, prompt: Prompt) -> list[Answer]:
    """Return every model's answer, in order. Calls that still run once the tier is lost or out of time are stopped."""
    models = [run.models[name] for name in tier.models]
    started = perf_counter()
    tasks = [asyncio.create_task(model.generate(prompt)) for model in models]
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
        if any(_refused(task.result()) for task in done):
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


async def _ask_target(run: Run, tier: Tier) -> AsyncGenerator[Delta | TierResult, None]:
    """Yield the target's text, then its `TierResult`."""
    started = perf_counter()
    prompt = _prompt(run, tier)
    if run.stream:
        async with aclosing(_stream(run, tier, prompt)) as items:
            async for item in items:
                if isinstance(item, Delta):
                    yield item
                else:
                    answer = item
    else:
        [answer] = await _gather(run, tier, prompt)
        if isinstance(answer, Generation):
            yield _whole(answer)
    decision = Decision(True, "last_tier", selected=0)
    calls = (Call(tier.models[0], answer),)
    result = TierResult(tier, calls, decision, elapsed_s=perf_counter() - started)
    run.results.append(result)
    yield result


async def _stream(run: Run, tier: Tier, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
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
