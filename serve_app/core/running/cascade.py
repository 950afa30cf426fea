"""The cascade itself: call a tier, compare its answers, accept or defer."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from time import perf_counter
from typing import TypeAlias

from serve_app.core.deciding.agreement import Survivors, agree, confide, survivors
from serve_app.core.deciding.deferral import decide, worth_comparing
from serve_app.core.running.run import Run, gather, refused, stream
from serve_app.core.types import (
    Agreement,
    Answer,
    Call,
    Decision,
    Delta,
    Failure,
    Generation,
    Outcome,
    Prompt,
    Scores,
    Tier,
    TierResult,
)
from serve_app.errors import CascadeError

Event: TypeAlias = TierResult | Delta | Outcome


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
    for tier in () if run.escalated else run.tiers[:-1]:
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
            yield await _with_choices(run, tier, _outcome(run, accepted))
            return
    async with aclosing(_ask_target(run, run.tiers[-1])) as events:
        async for event in events:
            if isinstance(event, Delta) and (event.text or event.reasoning) and run.first_text_s is None:
                run.first_text_s = perf_counter() - run.started
            yield event
    target = run.results[-1].calls[0]
    best = next(((result.tier, call) for result in reversed(run.results[:-1]) if (call := _selected(result))), None)
    if isinstance(target.answer, Failure) and run.fallback and best is not None and run.first_text_s is None:
        tier, call = best
        yield _whole(call.answer)
        yield await _with_choices(run, tier, _outcome(run, call, replaced=target.answer))
    else:
        yield await _with_choices(run, run.tiers[-1], _outcome(run, target))


def _selected(result: TierResult) -> Call | None:
    index = result.decision.selected
    return None if index is None else result.calls[index]


def _refusal(result: TierResult) -> Call | None:
    """Return the call that its model refused: the fault is the request's, so another model would only fail again."""
    return next((call for call in result.calls if refused(call.answer)), None)


def _whole(answer: Answer) -> Delta:
    assert isinstance(answer, Generation)
    return Delta(answer.text, answer.prompt_tokens, answer.completion_tokens, reasoning=answer.reasoning)


def _outcome(run: Run, call: Call, replaced: Failure | None = None) -> Outcome:
    return Outcome(call.answer, call.model, tuple(run.results), perf_counter() - run.started, replaced, run.escalated)


async def _with_choices(run: Run, tier: Tier, outcome: Outcome) -> Outcome:
    """Ask the model of `tier` that answered for the further answers that the request wants, all at once.

    One that fails makes the whole request fail: a client that asked for n answers gets n, or an error.
    """
    more = run.choices - 1
    if not more or not outcome.returned:
        return outcome
    again = Tier((outcome.answered_by,) * more, min_answers=more, timeout_s=tier.timeout_s)
    answers = await gather(run, again, [_reseeded(run.prompt, tier, number) for number in range(1, run.choices)])
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    # Once one has failed the others are cancelled, which is not the reason to tell.
    failure = next((failure for failure in failures if failure.kind != "cancelled"), next(iter(failures), None))
    others = tuple(answer for answer in answers if isinstance(answer, Generation))
    ended = replace(outcome, total_s=perf_counter() - run.started)
    return replace(ended, others=others) if failure is None else replace(ended, answer=failure)


def _reseeded(prompt: Prompt, tier: Tier, number: int) -> Prompt:
    """Return the prompt for a further answer: with the next seeds, lest all answers are the same."""
    seed = prompt.sampling.seed
    if seed is not None:
        seed = (seed + number + 2**63) % 2**64 - 2**63  # within 64 bits
    return replace(prompt, sampling=replace(prompt.sampling, seed=seed), timeout_s=tier.timeout_s)


async def _ask_tier(run: Run, tier: Tier) -> TierResult:
    """Call all members at once and decide on their answers."""
    started = perf_counter()
    answers = await gather(run, tier, [_prompt(run, tier)] * len(tier.models))
    scoring_started = perf_counter()
    calls = tuple(Call(model, answer) for model, answer in zip(tier.models, answers, strict=True))
    if any(map(refused, answers)):
        decision = Decision(False, "refused", threshold=tier.threshold)
        return TierResult(tier, calls, decision, elapsed_s=scoring_started - started)
    alive = survivors(tier, answers)
    judged, scores, error = await _judge(run, alive)
    ended = perf_counter()
    return TierResult(
        tier=tier,
        calls=calls,
        decision=decide(tier, judged, run.force),
        judged=judged,
        scores=scores,
        compared=alive.texts if tier.compare else (),
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


async def _judge(run: Run, alive: Survivors) -> tuple[Agreement, Scores | None, str | None]:
    tier = alive.tier
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


async def _ask_target(run: Run, tier: Tier) -> AsyncGenerator[Delta | TierResult, None]:
    """Yield the target's text, then its `TierResult`."""
    started = perf_counter()
    prompt = _prompt(run, tier)
    if run.stream:
        async with aclosing(stream(run, tier, prompt)) as items:
            async for item in items:
                if isinstance(item, Delta):
                    yield item
                else:
                    answer = item
    else:
        [answer] = await gather(run, tier, [prompt])
        if isinstance(answer, Generation):
            yield _whole(answer)
    decision = Decision(True, "last_tier", selected=0)
    calls = (Call(tier.models[0], answer),)
    result = TierResult(tier, calls, decision, elapsed_s=perf_counter() - started)
    run.results.append(result)
    yield result
