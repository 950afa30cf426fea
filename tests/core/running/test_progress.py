"""What a watcher of a run is told, and that watching changes nothing else."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from serve_app.core.running.cascade import cascade_events, run_cascade
from serve_app.core.running.progress import CallDelta, CallEnded, CallStarted, Progress, TierStarted, merged
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Delta, Failure, Generation
from serve_app.core.types.outcome import Outcome, TierResult
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Prompt
from tests.core.scripted import HANG, Fake, Judge, quiet

__all__ = ["quiet"]

PARIS = Generation("Paris", "stop", 10, 2)
ROME = Generation("Rome", "stop", 10, 2)
TARGET = Generation("It is Paris.", "stop", 10, 5)
TIERS = (Tier(("a", "b"), signal="s", threshold=0.5), Tier(("t",)))


def run(agreement: float, **models: Fake) -> Run:
    members = {"a": Fake(Delta("Pa", 10, 1), Delta("ris", 10, 2), PARIS), "b": Fake(0.01, Delta("Rome", 10, 2), ROME)}
    target = {"t": Fake(Delta("It is ", 10, 3), Delta("Paris.", 10, 5), TARGET)}
    return Run(Prompt(text="Capital of France?"), TIERS, members | target | models, Judge(agreement), stream=True)


async def test_a_watcher_sees_what_each_model_writes_and_how_it_ends() -> None:
    watched, reports = run(0.1), list[Progress]()
    watched.watch = reports.append
    await run_cascade(watched)
    of_a = [progress for progress in reports if getattr(progress, "model", None) == "a"]
    assert of_a == [
        CallStarted("a"),
        CallDelta("a", Delta("Pa", 10, 1)),
        CallDelta("a", Delta("ris", 10, 2)),
        CallEnded("a", PARIS),
    ]
    assert [progress for progress in reports if isinstance(progress, TierStarted)] == [
        TierStarted(0, TIERS[0]),
        TierStarted(1, TIERS[1]),
    ]
    assert [progress.model for progress in reports if isinstance(progress, CallEnded)] == ["a", "b", "t"]


@pytest.mark.parametrize("agreement", [0.1, 0.9])
async def test_watching_changes_neither_the_outcome_nor_the_charges(agreement: float) -> None:
    plain, watched = run(agreement), run(agreement)
    watched.watch = lambda progress: None
    outcomes = [await run_cascade(plain), await run_cascade(watched)]
    assert outcomes[0].answer == outcomes[1].answer
    assert [tier.decision for tier in outcomes[0].tiers] == [tier.decision for tier in outcomes[1].tiers]
    assert plain.calls == watched.calls


async def test_a_call_that_is_stopped_is_told_as_ended_with_what_it_spent() -> None:
    watched, reports = run(0.9, b=Fake(Delta("Ro", 10, 1), HANG)), list[Progress]()
    watched.tiers = (Tier(("a", "b"), signal="s", threshold=0.5, tier_timeout_s=0.05, min_answers=2), TIERS[1])
    watched.watch = reports.append
    await run_cascade(watched)
    [ended] = [progress.answer for progress in reports if isinstance(progress, CallEnded) and progress.model == "b"]
    assert isinstance(ended, Failure)
    assert (ended.kind, ended.prompt_tokens, ended.completion_tokens) == ("cancelled", 10, 1)


async def test_further_answers_to_one_request_are_not_told() -> None:
    watched, reports = run(0.9), list[Progress]()
    watched.choices, watched.watch = 3, reports.append
    await run_cascade(watched)
    assert [progress.model for progress in reports if isinstance(progress, CallStarted)] == ["a", "b"]


async def test_events_and_progress_are_merged_in_the_order_in_which_they_happened() -> None:
    watched = run(0.1)
    queue: asyncio.Queue[object] = asyncio.Queue()
    watched.watch = queue.put_nowait
    kinds = [type(event).__name__ async for event in merged(cascade_events(watched), queue)]
    assert kinds[0] == "TierStarted"
    assert kinds.index("TierResult") < len(kinds) - 1 - kinds[::-1].index("TierStarted")
    assert kinds[-2:] == [TierResult.__name__, Outcome.__name__]


async def test_merged_events_raise_what_the_run_raises_and_close_it() -> None:
    closed = asyncio.Event()

    async def events(error: Exception | None) -> AsyncGenerator[object, None]:
        try:
            yield 1
            if error is not None:
                raise error
            await asyncio.sleep(HANG)
        finally:
            closed.set()

    with pytest.raises(RuntimeError, match="broken"):
        [event async for event in merged(events(RuntimeError("broken")), asyncio.Queue())]
    closed.clear()
    stream = merged(events(None), asyncio.Queue())
    assert await anext(stream) == 1
    await stream.aclose()
    assert closed.is_set()
