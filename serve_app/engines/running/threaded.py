"""Base of engines whose model runs in threads: a call is handed to a thread and settled before its request returns."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from typing import Generic, Protocol, TypeVar

from serve_app.core.types.answer import Delta, Generation
from serve_app.core.types.prompt import Prompt
from serve_app.engines.base import Meter

CANCEL_WAIT_S = 30.0
"""A cancelled request returns after this many seconds even if its thread has not dropped it; its slot stays taken."""


class ThreadedCall(Protocol):
    """One request in a thread's hands. The thread looks at `cancelled` after every token or prompt batch."""

    cancelled: bool

    def generation(self) -> Generation:
        """Return the whole answer, once the call has ended."""
        ...


C = TypeVar("C", bound=ThreadedCall)


class ThreadedEngine(ABC, Generic[C]):
    """`generate` and `stream` of an `Engine`, over calls that a thread works on."""

    async def generate(self, prompt: Prompt, meter: Meter) -> Generation:
        call = self._call(prompt, meter)
        future = await self._start(call)
        try:
            await asyncio.shield(future)
        finally:
            await self._settle(call, future)
        return call.generation()

    async def stream(self, prompt: Prompt, meter: Meter) -> AsyncGenerator[Delta | Generation, None]:
        loop = asyncio.get_running_loop()
        deltas: asyncio.Queue[Delta | None] = asyncio.Queue()
        call = self._call(prompt, meter, lambda d: loop.call_soon_threadsafe(deltas.put_nowait, d))
        future = await self._start(call)
        future.add_done_callback(lambda _: deltas.put_nowait(None))
        try:
            while (delta := await deltas.get()) is not None:
                yield delta
            await future
            yield call.generation()
        finally:
            await self._settle(call, future)

    @abstractmethod
    def _call(self, prompt: Prompt, meter: Meter, on_delta: Callable[[Delta], object] | None = None) -> C:
        """Return the request as the thread takes it; `on_delta` is called in that thread."""

    @abstractmethod
    async def _start(self, call: C) -> asyncio.Future[None]:
        """Wait for a slot, then hand the call over. The slot belongs to the call, not to the awaiting task."""

    async def _settle(self, call: C, future: asyncio.Future[None]) -> None:
        """Stop the call if it still runs, and wait for its thread to drop it.

        Only then is the meter final and the slot free. A second cancellation ends the wait at once.
        """
        if not future.done():
            call.cancelled = True
            await asyncio.wait([future], timeout=CANCEL_WAIT_S)
