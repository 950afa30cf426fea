"""Slots for the requests of an engine that awaits its model (rather than running it in threads), and their counters."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from serve_app.engines.base import EngineCounters, Meter
from serve_app.errors import EngineError

CLOSED = "The model was closed."


class Slots:
    """At most `count` requests at once; more wait, where cancelling them is free. Closing ends all waiting.

    Requests are counted when they get their slot, their tokens when they leave.
    """

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)
        self._waits: set[asyncio.Timeout] = set()
        self._closed = False
        self._active = self._requests = self._prompt_tokens = self._completion_tokens = 0

    @asynccontextmanager
    async def slot(self, meter: Meter) -> AsyncIterator[None]:
        """Hold a slot during the body, and count its request. Raises `EngineError` if closed before one is free."""
        async with self.while_open():
            await self._free.acquire()
        try:
            with self.counted(meter):
                yield
        finally:
            self._free.release()

    @contextmanager
    def counted(self, meter: Meter) -> Iterator[None]:
        """Count the body as a request that needs no slot. Raises `EngineError` if closed."""
        self.check_open()
        self._requests += 1
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1
            self._prompt_tokens += meter.prompt_tokens
            self._completion_tokens += meter.completion_tokens

    def counters(self) -> EngineCounters:
        """Return the totals so far; `active` requests are in a body now."""
        return EngineCounters(self._active, self._requests, self._prompt_tokens, self._completion_tokens)

    @asynccontextmanager
    async def while_open(self) -> AsyncIterator[None]:
        """Raise `EngineError` in the body's `await` as soon as the engine is closed."""
        self.check_open()
        wait = asyncio.timeout(None)
        self._waits.add(wait)
        try:
            async with wait:
                yield
        except TimeoutError:
            if wait.expired():
                raise EngineError(CLOSED) from None
            raise
        finally:
            self._waits.discard(wait)

    async def sleep(self, delay_s: float) -> None:
        """Sleep for `delay_s` seconds. Raises `EngineError` as soon as the engine is closed."""
        if delay_s <= 0:
            self.check_open()
            return
        async with self.while_open():
            await asyncio.sleep(delay_s)

    def check_open(self) -> None:
        """Raise `EngineError` if the engine is closed."""
        if self._closed:
            raise EngineError(CLOSED)

    def close(self) -> None:
        """End all waiting, now and from now on."""
        self._closed = True
        for wait in self._waits:
            wait.reschedule(asyncio.get_running_loop().time())
        self._waits.clear()
