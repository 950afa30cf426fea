"""More requests than the models can answer, in virtual time: goodput holds, the rest is refused at once.

The router is the real one; its deployments take their time and queue without end before a few slots, as Serve's do.
The models are those of `make bench-overload` and of the issue's `overload.py`.
"""

import asyncio
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from serve_app.api.intake.ask import Ask
from serve_app.config import AppConfig
from serve_app.core.running.cascade import run_cascade
from serve_app.core.types.answer import Answer, Generation
from serve_app.core.types.prompt import Message, Prompt
from serve_app.deployments.router import Router
from serve_app.errors import OverloadedError
from serve_app.evaluation.analysis.timing import virtual_time

SLOTS = 4
MEMBER_S, TARGET_S, DEFERRED = 0.3, 1.0, 0.5
SATURATION_RPS = SLOTS / TARGET_S / DEFERRED
"""8: the target is busy all the time then, the members at 13."""
LOAD_S = 20.0
MODELS = {name: {"engine": "replay", "default": "x", "parameters": 1e9, "slots": SLOTS} for name in ("a", "b", "t")}
TIERS = [{"models": ["a", "b"], "signal": "exact", "threshold": 0.5}, {"models": ["t"]}]


class Queueing:
    """A handle whose replica works on `SLOTS` requests at once. Members agree on half of the questions."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._slots = asyncio.Semaphore(SLOTS)

    def options(self, **_: Any) -> "Queueing":
        return self

    async def remote(self, prompt: Prompt, **_: Any) -> Answer:
        async with self._slots:
            await asyncio.sleep(self._seconds)
        agreed = int(prompt.messages[0].content) % 2 == 0
        return Generation("same" if agreed else self._name, "stop", 10, 2, latency_s=self._seconds)


@dataclass
class Seen:
    """What became of the requests of one load."""

    refused: list[OverloadedError] = field(default_factory=list)
    statuses: set[str] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)


async def offer(router: Router, rps: float, seconds: float) -> Seen:
    """Send requests at random times, whether or not earlier ones are answered, and wait for all."""
    results, chance = Seen(), Random(1)
    time = asyncio.get_running_loop().time
    ends = time() + seconds

    async def ask(number: int) -> None:
        started = time()
        try:
            request = router.open(Ask("default", Prompt((Message("user", str(number)),))))
        except OverloadedError as error:
            results.refused.append(error)
            return
        outcome = await run_cascade(request.run)
        request.close(outcome)
        kind = "ok" if isinstance(outcome.answer, Generation) else outcome.answer.kind
        results.statuses.add(kind)
        if kind == "ok":
            results.seconds.append(time() - started)

    async with asyncio.TaskGroup() as group:
        for number in count():
            await asyncio.sleep(chance.expovariate(rps))
            if time() > ends:
                break
            group.create_task(ask(number))
    return results


async def offered(*loads: tuple[float, float]) -> list[Seen]:
    """Return the results of each load (a rate and its seconds), one after another at one router."""
    config = AppConfig.model_validate({"models": MODELS, "cascades": {"default": {"tiers": TIERS}}})
    seconds = {"a": MEMBER_S, "b": MEMBER_S, "t": TARGET_S}
    handles: dict[str, Any] = {name: Queueing(name, duration_s) for name, duration_s in seconds.items()}
    router = Router(config, handles, handles["a"], {})
    return [await offer(router, rps, for_s) for rps, for_s in loads]


def test_goodput_holds_at_three_times_saturation_and_it_recovers_at_once() -> None:
    twice, thrice, after = virtual_time.run(
        offered((2 * SATURATION_RPS, LOAD_S), (3 * SATURATION_RPS, LOAD_S), (0.4 * SATURATION_RPS, LOAD_S))
    )
    for results in (twice, thrice):
        assert len(results.seconds) / LOAD_S >= 0.9 * SATURATION_RPS
        # Two wait for each slot, so that a request is there for three answers of each tier at the most.
        assert max(results.seconds) <= 3 * (MEMBER_S + TARGET_S) + 1e-6
        assert len(results.refused) > 20
        assert all(error.retry_after_s > 0 for error in results.refused)
    assert not after.refused
    assert after.statuses == {"ok"}
    assert max(after.seconds) < 2 * (MEMBER_S + TARGET_S)
