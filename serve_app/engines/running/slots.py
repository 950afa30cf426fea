"""Places for requests of an engine that is asked, not run in threads: all who wait leave when it is closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serve_app.errors import EngineError

CLOSED = "The model was closed."


class Slots:
    """At most `count` requests at once; more wait, where cancelling them is free."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)
        self._waits: set[asyncio.Timeout] = set()
        self._closed = False

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """The body has a slot. `EngineError` where the engine is closed before there is one."""
        async with self.while_open():
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    @asynccontextmanager
    async def while_open(self) -> AsyncIterator[None]:
        """Whatever waits in here raises `EngineError` when the engine is closed."""
        if self._closed:
            raise EngineError(CLOSED)
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

    def close(self) -> None:
        """End all waiting, now and from now on."""
        self._closed = True
        for wait in self._waits:
            wait.reschedule(asyncio.get_running_loop().time())
        self._waits.clear()
