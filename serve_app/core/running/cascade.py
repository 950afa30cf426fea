"""The cascade itself: call a tier, compare its answers, accept or defer."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import TypeAlias

from serve_app.core.running.alone import as_delta, ask_alone
from serve_app.core.running.budget import unaffordable
from serve_app.core.running.calls import CANCELLED, Calls
from serve_app.core.running.comparison import Comparison
from serve_app.core.running.members import ask, ask_again, refused
from serve_app.core.running.progress import TierStarted
from serve_app.core.running.prompts import prompts
from serve_app.core.running.run import Run
from serve_app.core.running.target import ask_target
from serve_app.core.sampling import reseeded
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.outcome import Call, Outcome, TierResult
from serve_app.core.types.policy import Decision, Tier
from serve_app.core.types.prompt import Prompt

Event: TypeAlias = TierResult | Delta | Outcome

_ANSWERED = Failure("cancelled", "Stopped: the request was answered without it.")


async def run_cascade(run: Run) -> Outcome:
    """Run a request to its end and return the outcome."""
    return await outcome_of(cascade_events(run))


async def outcome_of(run_events: AsyncGenerator[Event, None]) -> Outcome:
    """Consume a run's events to the end and return the outcome."""
    async with aclosing(run_events) as events:
        async for event in events:
            if isinstance(event, Outcome):
                return event
    raise AssertionError("A run always ends with an Outcome.")


async def cascade_events(run: Run) -> AsyncGenerator[Event, None]:
    """Yield a `TierResult` for each tier that ran, the answer's text as `Delta`s, and an `Outcome` at the end.

    Yielded text is never retracted. Cancelling the consumer, or closing the generator, cancels every
    model call in progress; `run.calls` then holds what was spent.
    """
    calls = Calls(run)
    try:
        async with aclosing(_events(run, calls)) as events:
            async for event in events:
                yield event
    finally:
        await calls.close(CANCELLED)


async def _events(run: Run, calls: Calls) -> AsyncGenerator[Event, None]:
    if run.prechecker is not None and not (run.escalated or run.force or run.budget):
        run.precheck = await run.prechecker.check(run.prompt)
    if run.skipped is not None and run.skipped.member is not None:
        async with aclosing(_ask_member(run, calls, run.skipped.member)) as events:
            async for event in events:
                yield event
                if isinstance(event, Outcome):
                    return
    unasked: Failure | None = None
    for number, tier in enumerate(() if run.escalated or run.skipped else run.tiers[:-1]):
        if (unasked := _budget_failure(run, calls, number)) is not None:
            break
        with _next_tier_started(run, calls, number):
            result = await _ask_tier(run, calls, number)
        run.results.append(result)
        yield result
        if (refusal := _refusal(result)) is not None:
            await calls.close(_ANSWERED)
            yield _outcome(run, refusal)
            return
        if result.decision.accepted:
            accepted = _selected(result)
            assert accepted is not None
            yield as_delta(accepted.answer)
            await calls.close(_ANSWERED)
            yield await _with_choices(run, calls, tier, _outcome(run, accepted))
            return
    unasked = unasked or _budget_failure(run, calls, len(run.tiers) - 1)
    async with aclosing(ask_target(run, calls) if unasked is None else _skipped_tier(run)) as events:
        async for event in events:
            yield event
    await calls.close(_ANSWERED)
    last = run.results[-1].calls[0] if unasked is None else Call(run.results[-1].tier.models[0], unasked)
    best = _best_so_far(run)
    if isinstance(last.answer, Failure) and best is not None:
        tier, call = best
        yield as_delta(call.answer)
        yield await _with_choices(run, calls, tier, _outcome(run, call, replaced=last.answer))
    else:
        yield await _with_choices(run, calls, run.tiers[-1], _outcome(run, last))


def _budget_failure(run: Run, calls: Calls, number: int) -> Failure | None:
    """Return why the budget does not allow a tier, whose result is then noted, or None if it does."""
    calls.settle_ended()  # calls that were made already are spent, and need no budget
    tier, last = run.tiers[number], number + 1 == len(run.tiers)
    answers = {name: calls.answered((name, 0)) for name in tier.models}
    new = [name for name, answer in answers.items() if answer is None or (last and isinstance(answer, Failure))]
    failure = unaffordable(run, new) if new else None
    if failure is not None:
        unasked = tuple(Call(name, answer or failure) for name, answer in answers.items())
        run.results.append(
            TierResult(tier, unasked, Decision(False, "unaffordable"), carried=calls.carried(tier.models))
        )
    return failure


async def _skipped_tier(run: Run) -> AsyncGenerator[TierResult, None]:
    """Yield the result of a tier that was not asked."""
    yield run.results[-1]


def _best_so_far(run: Run) -> tuple[Tier, Call] | None:
    """Return the best answer of the tiers before the last, if it may stand in for that one's."""
    if not (run.fallback or run.budget is not None) or run.first_text_s is not None:
        return None
    return next(((result.tier, call) for result in reversed(run.results[:-1]) if (call := _selected(result))), None)


@contextmanager
def _next_tier_started(run: Run, calls: Calls, number: int) -> Iterator[None]:
    """Call the models of the next tier while the body decides on this one, if the run's speculation does so."""
    speculation = None if run.force or run.budget else run.speculation
    delay_s = None if speculation is None else speculation.delay_s(number, run.prompt)
    if speculation is None or delay_s is None:
        yield
        return
    following, last = run.tiers[number + 1], number + 2 == len(run.tiers)

    def start() -> None:
        fresh = [name for name in following.models if not calls.has_call((name, 0))]
        if fresh and speculation.may_start(fresh):
            calls.start(prompts(run, number + 1), stream=last and run.stream, speculative=True)

    timer = asyncio.get_running_loop().call_later(delay_s, start)
    try:
        yield
    finally:
        timer.cancel()


def _selected(result: TierResult) -> Call | None:
    index = result.decision.selected
    return None if index is None else result.calls[index]


def _refusal(result: TierResult) -> Call | None:
    """Return the call that its model refused: the fault is the request's, so another model would only fail again."""
    return next((call for call in result.calls if refused(call.answer)), None)


def _outcome(run: Run, call: Call, replaced: Failure | None = None) -> Outcome:
    total_s = run.clock() - run.started
    return Outcome(call.answer, call.model, tuple(run.results), total_s, replaced, run.escalated, run.skipped)


async def _with_choices(run: Run, calls: Calls, tier: Tier, outcome: Outcome) -> Outcome:
    """Ask the model of `tier` that answered for the further answers that the request wants, all at once.

    One that fails makes the whole request fail: a client that asked for n answers gets n, or an error.
    """
    if run.choices == 1 or not outcome.returned:
        return outcome
    numbers = range(1, run.choices)
    further = [((outcome.answered_by, number), _further(run.prompt, tier, number)) for number in numbers]
    answers = await ask_again(calls, further)
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    # Once one has failed the others are cancelled, which is not the reason to report.
    failure = next((failure for failure in failures if failure.kind != "cancelled"), next(iter(failures), None))
    further_answers = tuple(answer for answer in answers if isinstance(answer, Generation))
    ended = replace(outcome, total_s=run.clock() - run.started)
    return replace(ended, further_answers=further_answers) if failure is None else replace(ended, answer=failure)


def _further(prompt: Prompt, tier: Tier, number: int) -> Prompt:
    """Return the prompt for a further answer: with the next seeds, lest all answers are the same."""
    return replace(prompt, sampling=reseeded(prompt.sampling, number), timeout_s=tier.timeout_s)


async def _ask_tier(run: Run, calls: Calls, number: int) -> TierResult:
    """Call all members at once and decide on their answers."""
    tier = run.tiers[number]
    started = run.clock()
    later = {(name, 0) for following in run.tiers[number + 1 :] for name in following.models}
    carried = calls.carried(tier.models)
    run.tell(TierStarted(number, tier))
    comparison = Comparison(tier, run.scorer, run.clock, run.lexical)
    answers = await ask(run, calls, tier, prompts(run, number), later, comparison)
    answered = tuple(Call(model, answer) for model, answer in zip(tier.models, answers, strict=True))
    if any(map(refused, answers)):
        return TierResult(
            tier,
            answered,
            Decision(False, "refused", threshold=tier.threshold),
            scores=comparison.spent,
            carried=carried,
            elapsed_s=run.clock() - started,
            scoring_s=comparison.scoring_s,
        )
    verdict = comparison.early or await comparison.verdict(answers, run.force)
    result = verdict.result(tier, answered)
    return replace(
        result,
        scores=result.scores or comparison.spent,
        carried=carried,
        elapsed_s=run.clock() - started,
        scoring_s=comparison.scoring_s,
    )


async def _ask_member(run: Run, calls: Calls, member: str) -> AsyncGenerator[Event, None]:
    """Yield the text of a member that answers alone, its `TierResult`, and the `Outcome`.

    If it fails, or has an empty answer, and nothing of it has been streamed, the precheck is void: the cascade runs,
    with this as the member's answer.
    """
    started = run.clock()
    number = next(number for number, tier in enumerate(run.tiers) if member in tier.models)
    [(key, prompt)] = [(key, prompt) for key, prompt in prompts(run, number) if key[0] == member]
    tier = Tier((member,), timeout_s=run.tiers[number].timeout_s)
    run.tell(TierStarted(0, tier))
    async with aclosing(ask_alone(run, calls, key, prompt)) as deltas:
        async for delta in deltas:
            if calls.streamed(key):
                yield delta
    [answer] = calls.answers([key])
    if not (_ends_request(answer) or (calls.streamed(key) and run.first_text_s is not None)):
        assert run.precheck is not None
        run.precheck, run.first_text_s = replace(run.precheck, verdict=None), None
        return
    if isinstance(answer, Generation) and not calls.streamed(key):
        yield as_delta(answer)
    decision = Decision(True, "skipped", selected=0)
    result = TierResult(tier, (Call(member, answer),), decision, elapsed_s=run.clock() - started)
    run.results.append(result)
    yield result
    await calls.close(_ANSWERED)
    yield await _with_choices(run, calls, tier, _outcome(run, result.calls[0]))


def _ends_request(answer: Answer) -> bool:
    """Return whether a member's answer may be the request's: it has content, or would be refused by others, too."""
    return refused(answer) if isinstance(answer, Failure) else not answer.empty
