"""Models and a scorer that play scripts, and what tests of a run share."""

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

import pytest

from serve_app.core.running.cascade import Event, cascade_events
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.outcome import Force, Outcome
from serve_app.core.types.policy import Tier
from serve_app.core.types.prompt import Message, Prompt
from serve_app.core.types.scores import Matrix, Scores
from tests.patience import PATIENCE_S

HANG = 3600.0
"""Seconds in a script that no test waits for."""

Step = float | asyncio.Event | Delta | Generation | Failure | Exception


class Fake:
    """A model that plays a script: sleeps, waits for events, streams deltas, answers, fails or raises.

    It notes when it is stopped.
    """

    def __init__(self, *script: Step, parting: Answer | None = None) -> None:
        self.script = script
        self.parting = parting  # what `generate` returns, instead of raising, when it is cancelled
        self.prompts: list[Prompt] = []
        self.entered = asyncio.Event()
        self.stopped = 0

    async def generate(self, prompt: Prompt) -> Answer:
        self._enter(prompt)
        try:
            for step in self.script:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                elif not isinstance(step, Delta):
                    return step
        except asyncio.CancelledError:
            self.stopped += 1
            if self.parting is None:
                raise
            return self.parting
        raise AssertionError("The script has no answer.")

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Delta | Answer, None]:
        self._enter(prompt)
        answered = False
        try:
            for step in self.script:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    answered = not isinstance(step, Delta)
                    yield step
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += not answered
            raise

    def _enter(self, prompt: Prompt) -> None:
        self.prompts.append(prompt)
        self.entered.set()


class Stubborn(Fake):
    """Takes its time to stop."""

    def __init__(self, *script: Step) -> None:
        super().__init__(*script)
        self.stopping = asyncio.Event()

    async def generate(self, prompt: Prompt) -> Answer:
        try:
            return await super().generate(prompt)
        finally:
            self.stopping.set()
            await asyncio.sleep(0.05)


class Judge:
    """A scorer: the same similarity for every pair of different texts, or an error, or no end."""

    def __init__(self, similarity: float | Matrix | Exception = 1.0, delay_s: float = 0.0) -> None:
        self.similarity = similarity
        self.delay_s = delay_s
        self.requests: list[tuple[str, list[str]]] = []
        self.entered = asyncio.Event()
        self.stopped = 0

    async def score(self, signal: str, texts: Sequence[str], since: int = 0) -> Scores:
        self.requests.append((signal, list(texts)))
        self.entered.set()
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if isinstance(self.similarity, Exception):
            raise self.similarity
        if isinstance(self.similarity, tuple):
            return Scores(self.similarity)
        similarity = self.similarity
        matrix = tuple(tuple(1.0 if a == b else similarity for b in texts) for a in texts)
        return Scores(matrix, flops=7.0, device_s=0.5)


PROMPT = Prompt(messages=(Message("user", "Capital of France?"),))
TIER = Tier(("a", "b"), signal="exact", threshold=0.5)
TRIO = Tier(("a", "b", "c"), signal="exact", threshold=0.5)
TARGET = Tier(("t",))
BROKEN = Failure("error", "Broken.", 10, 0)
STREAM = (Delta("Par", 12, 1), Delta("is", 12, 2), Generation("Paris", "stop", 12, 2))


def reply(text: str, prompt_tokens: int = 10, completion_tokens: int = 2) -> Generation:
    return Generation(text, "stop", prompt_tokens, completion_tokens)


def run_of(
    models: dict[str, Fake],
    tiers: Sequence[Tier] = (TIER, TARGET),
    *,
    scorer: Judge | None = None,
    prompt: Prompt = PROMPT,
    force: Force | None = None,
    fallback: bool = False,
    stream: bool = False,
) -> Run:
    return Run(prompt, tiers, models, scorer or Judge(), force=force, fallback=fallback, stream=stream)


async def collect(run: Run) -> list[Event]:
    async with aclosing(cascade_events(run)) as events:
        return [event async for event in events]


async def begun(*fakes: Fake | Judge) -> None:
    async with asyncio.timeout(PATIENCE_S):
        for fake in fakes:
            await fake.entered.wait()


async def cancel(task: asyncio.Task[Outcome] | asyncio.Task[list[Event]]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def kinds(run: Run) -> dict[str, str]:
    """Return how each call ended, by model. Fails if a model was noted twice."""
    ended = {call.model: call.answer.kind if isinstance(call.answer, Failure) else "ok" for call in run.calls}
    assert len(ended) == len(run.calls)
    return ended


@pytest.fixture(autouse=True)
async def quiet(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Fail on tasks left running, and on what asyncio only logs ('Task exception was never retrieved')."""
    monkeypatch.setattr("serve_app.core.running.calls.GRACE_S", 0.0)
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
    before = asyncio.all_tasks()
    yield
    tasks = asyncio.all_tasks() - before - {asyncio.current_task()}
    gc.collect(1)  # the young ones are enough, and much quicker
    await asyncio.sleep(0)
    assert not complaints
    assert not tasks
