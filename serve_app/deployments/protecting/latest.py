"""A value that is slow to read: one read at a time, for all calls meanwhile and for a while after."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """The latest value of `read`, reused for `age_s` seconds of the `clock` from the beginning of its read.

    A read continues for the other callers if one of them is cancelled.
    """

    def __init__(self, read: Callable[[], Awaitable[T]], age_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._read = read
        self._age_s = age_s
        self._clock = clock
        self._value: tuple[float, T] | None = None
        self._reading: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the value. Raises what `read` raises, in all waiting callers; the next caller reads anew."""
        if self._value is not None and self._clock() - self._value[0] <= self._age_s:
            return self._value[1]
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._refresh())
        return await asyncio.shield(self._reading)

    async def _refresh(self) -> T:
        started = self._clock()
        value = await self._read()
        self._value = (started, value)
        return value
