"""A continuous batch played in real time, on the event loop: one timer, whatever the number of sequences."""

import asyncio

from serve_app.engines.replay.gpu_model import BatchSpeed, ContinuousBatch, Sequence
from serve_app.errors import EngineError


class LiveBatch:
    """Sequences that wait for their tokens. It belongs to the event loop that first used it."""

    def __init__(self, speed: BatchSpeed, slots: int) -> None:
        self._batch = ContinuousBatch(speed, slots)
        self._waiters: dict[Sequence, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> int:
        """Return the number of sequences that hold a slot."""
        return self._batch.running

    def add(self, prompt_tokens: int, completion_tokens: int) -> Sequence:
        """Add a sequence; `leave` must follow."""
        loop = asyncio.get_running_loop()
        self._advance()
        sequence = self._batch.add(loop.time(), prompt_tokens, completion_tokens)
        self._waiters[sequence] = loop.create_future()
        self._schedule()
        return sequence

    def generated(self, sequence: Sequence) -> int:
        """Return the number of tokens that it has by now."""
        self._advance()
        return self._batch.generated(sequence)

    async def wait(self, sequence: Sequence, timeout_s: float | None = None) -> bool:
        """Wait at most `timeout_s` seconds and return whether it is complete. Raises EngineError once closed."""
        waiter = self._waiters[sequence]
        completed, _ = await asyncio.wait([waiter], timeout=timeout_s)
        if completed:
            waiter.result()
        return bool(completed)

    def leave(self, sequence: Sequence) -> None:
        """Give back the slot, complete or not."""
        self._waiters.pop(sequence).cancel()
        self._advance()
        self._batch.remove(sequence)
        self._schedule()

    def close(self, message: str) -> None:
        """End all waiting with an EngineError."""
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_exception(EngineError(message))
                waiter.exception()  # its request may be between two waits, and end without another

    def _advance(self) -> None:
        for sequence in self._batch.advance(asyncio.get_running_loop().time()):
            waiter = self._waiters.get(sequence)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        change_s = self._batch.next_change_s()
        self._timer = None if change_s is None else asyncio.get_running_loop().call_at(change_s, self._wake)

    def _wake(self) -> None:
        self._advance()
        self._schedule()
