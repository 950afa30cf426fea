"""The calls of one run: every model is called once, and all tiers that name it share its answer."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from serve_app.core.protocols import Model
from serve_app.core.running.progress import CallDelta, CallEnded, CallStarted
from serve_app.core.running.run import Run
from serve_app.core.types.answer import Answer, Delta, Failure, Generation
from serve_app.core.types.prompt import Prompt

GRACE_S = 1.0
"""How much later than the model itself the cascade gives up on it: only the model knows the tokens that it spent."""

Key: TypeAlias = tuple[str, int]
"""A model, and which of its answers: 0, and further numbers if the request wants several."""


@dataclass(slots=True)
class _Call:
    """A call from its beginning. A streamed one has a queue of deltas, and None after the last.

    `was_called` is set once the model has been called: a task that is stopped before costs nothing. Times are of the
    run's clock.
    """

    key: Key
    started: float
    deltas: asyncio.Queue[Delta | None] | None
    latest: Delta | None = None
    was_called: bool = False
    ended: float | None = None
    task: asyncio.Task[Answer] = field(init=False)


class Calls:
    """The calls of a run, in progress and ended.

    A call is charged to the run when it is settled. Every call keeps to its prompt's time limit by itself.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._calls: dict[Key, _Call] = {}
        self._answers: dict[Key, Answer] = {}
        self._speculative: set[Key] = set()

    def start(self, prompts: Sequence[tuple[Key, Prompt]], *, stream: bool = False, speculative: bool = False) -> None:
        """Call each model that has not been called, with its prompt; `stream`, or a watcher, asks it for deltas.

        Raises `KeyError`, before any is called, if the run has no such model. A call that is not speculative makes use
        of an earlier one that was, unless that one has failed: then the model is called once more.
        """
        if not speculative:
            self._use([key for key, _ in prompts])
        fresh = [(key, prompt) for key, prompt in prompts if key not in self._calls]
        models = [self._run.models[name] for (name, _), _ in fresh]
        for (key, prompt), model in zip(fresh, models, strict=True):
            call = _Call(key, self._run.clock(), asyncio.Queue() if stream or self._run.watch else None)
            call.task = asyncio.create_task(self._timed(call, model, prompt))
            self._calls[key] = call
            if speculative:
                self._speculative.add(key)

    async def _timed(self, call: _Call, model: Model, prompt: Prompt) -> Answer:
        try:
            answer = await _within_limits(self._run, call, model, prompt)
        finally:
            call.ended = self._run.clock()
        if not _uncounted(answer):
            _tell_of_end(self._run, call.key, answer)
        return answer

    def carried(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the models that have been called for a tier, and not only ahead of one."""
        return tuple(name for name in names if (name, 0) in self._calls and (name, 0) not in self._speculative)

    def has_call(self, key: Key) -> bool:
        """Return whether the call has been made, for a tier or ahead of one."""
        return key in self._calls

    def _use(self, keys: Iterable[Key]) -> None:
        for key in self._speculative.intersection(keys):
            if self._calls[key].task.done() and _failed(self._calls[key].task):
                self.forget(key)
            self._speculative.discard(key)

    def forget(self, key: Key) -> None:
        """Charge a call that has ended, and let its model be called once more."""
        if key not in self._answers:
            self._settle([key], _SUPERSEDED)
        del self._calls[key], self._answers[key]

    def ended(self, key: Key) -> Answer | None:
        """Return the answer of a call that has ended, or None. Raises what the model raised, which is a bug."""
        if key in self._answers:
            return self._answers[key]
        call = self._calls.get(key)
        return call.task.result() if call is not None and call.task.done() else None

    def answered(self, key: Key) -> Answer | None:
        """Return the answer of a call that is settled, or None."""
        return self._answers.get(key)

    async def one_more(self, keys: Collection[Key], timeout_s: float | None = None) -> bool:
        """Wait until one of the calls has ended, and return whether it did so in time."""
        ended_tasks, _ = await asyncio.wait(
            [self._calls[key].task for key in keys], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        return bool(ended_tasks)

    async def deltas(self, key: Key) -> AsyncGenerator[Delta, None]:
        """Yield the deltas of a streamed call, those that came before at once; nothing if it is not streamed."""
        call = self._calls[key]
        while call.deltas is not None and (delta := await call.deltas.get()) is not None:
            yield delta
        await asyncio.wait([call.task])

    def streamed(self, key: Key) -> bool:
        """Return whether the call has deltas."""
        return self._calls[key].deltas is not None

    async def settle(self, keys: Iterable[Key], reason: Failure, leave: Collection[Key] = ()) -> None:
        """Stop those of the calls that still run, but for those to `leave`, and charge all that have ended.

        `reason` is the answer of a call that is stopped. Of the calls to leave, those made ahead are not charged yet:
        whether they are waste is not known.
        """
        calls = {key: self._calls[key] for key in keys if key in self._calls and key not in self._answers}
        chosen = {
            key: call
            for key, call in calls.items()
            if key not in leave or (call.task.done() and key not in self._speculative)
        }
        for call in chosen.values():
            call.task.cancel()
        try:
            await asyncio.gather(*(call.task for call in chosen.values()), return_exceptions=True)
        finally:  # also if a second cancellation arrives during the first
            self._settle(list(chosen), reason)

    def settle_ended(self) -> None:
        """Charge the calls that have ended since their tier left them to run. Raises what a model raised, a bug.

        Those made ahead are not charged yet: whether they are waste is not known.
        """
        unsettled = [key for key in self._calls if key not in self._answers and key not in self._speculative]
        self._settle([key for key in unsettled if self.ended(key) is not None], CANCELLED)

    async def close(self, reason: Failure) -> None:
        """Stop all calls that still run, and charge them."""
        await self.settle(list(self._calls), reason)

    def answers(self, keys: Iterable[Key]) -> list[Answer]:
        """Return the answers of calls that are settled; a failure for those that run on, or were never made."""
        return [self._answers.get(key, _WITHOUT) for key in keys]

    def _settle(self, keys: Sequence[Key], reason: Failure) -> None:
        """Charge calls that have ended.

        Finished answers come first, because the tokens of calls that were cut short are estimated from them.
        """
        cut_short: list[tuple[Key, Failure]] = []
        for key in keys:
            task, wasted = self._calls[key].task, key in self._speculative
            if not self._calls[key].was_called:
                self._answers[key] = reason
                continue
            answer = None if task.cancelled() or task.exception() else task.result()
            if answer is None or _uncounted(answer):
                cut_short.append((key, answer if isinstance(answer, Failure) else reason))
            else:
                self._answers[key] = self._run.finished(key[0], answer, wasted=wasted)
        for key, failure in cut_short:
            call, wasted = self._calls[key], key in self._speculative
            elapsed_s = (self._run.clock() if call.ended is None else call.ended) - call.started
            answer = self._run.abandoned(key[0], failure, elapsed_s, call.latest, wasted=wasted)
            self._answers[key] = answer
            _tell_of_end(self._run, key, answer)


CANCELLED = Failure("cancelled", "Stopped: the request was cancelled.")
_WITHOUT = Failure("cancelled", "Not waited for: the tier was decided without it.")
_SUPERSEDED = Failure("cancelled", "Stopped: it is asked once more.")
_UNFINISHED = Failure("error", "The model's stream ended without an answer.", uncounted=True)


def _failed(task: asyncio.Task[Answer]) -> bool:
    return not task.cancelled() and not task.exception() and isinstance(task.result(), Failure)


def _uncounted(answer: Answer) -> bool:
    return isinstance(answer, Failure) and answer.uncounted


def _watched(key: Key) -> bool:
    """Return whether the call is reported to a watcher: only a model's first answer is, which may be compared."""
    return key[1] == 0


def _tell_of_end(run: Run, key: Key, answer: Answer) -> None:
    if _watched(key):
        run.tell(CallEnded(key[0], answer))


async def _within_limits(run: Run, call: _Call, model: Model, prompt: Prompt) -> Answer:
    """Return the model's answer, or a failure once its time is over."""
    call.was_called = True
    if _watched(call.key):
        run.tell(CallStarted(call.key[0]))
    limit_s = None if prompt.timeout_s is None else prompt.timeout_s + GRACE_S
    try:
        async with asyncio.timeout(limit_s) as clock:
            answer = await (model.generate(prompt) if call.deltas is None else _streamed(run, call, model, prompt))
    except TimeoutError:
        if not clock.expired():  # raised by the model itself, which is a bug
            raise
        return Failure("timeout", f"No answer within {prompt.timeout_s} s.", uncounted=True)
    finally:
        if call.deltas is not None:
            call.deltas.put_nowait(None)
    if isinstance(answer, Generation) and len(answer.tool_calls) > 1 and not prompt.parallel_tool_calls:
        # Engines are told to stop after one call, but some models make more.
        answer = replace(answer, tool_calls=answer.tool_calls[:1])
    return answer


async def _streamed(run: Run, call: _Call, model: Model, prompt: Prompt) -> Answer:
    assert call.deltas is not None
    answer: Answer = _UNFINISHED
    async with aclosing(model.stream(prompt)) as items:
        async for item in items:
            if isinstance(item, Delta):
                call.latest = item
                call.deltas.put_nowait(item)
                if _watched(call.key):
                    run.tell(CallDelta(call.key[0], item))
            else:
                answer = item
    return answer
