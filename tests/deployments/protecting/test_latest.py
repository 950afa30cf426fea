"""A value that many ask for is read once."""

import asyncio

import pytest

from serve_app.deployments.protecting.latest import Latest


class Source:
    """Gives 1, 2, ... once it is released; fails on the reads named by `failing`."""

    def __init__(self, failing: tuple[int, ...] = ()) -> None:
        self.failing = failing
        self.reads = 0
        self.now = 0.0
        self.released = asyncio.Event()
        self.latest = Latest(self.read, 10.0, lambda: self.now)

    async def read(self) -> int:
        self.reads += 1
        number = self.reads
        await self.released.wait()
        if number in self.failing:
            raise OSError("away")
        return number


async def asking(source: Source, count: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(source.latest.get()) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_who_asks_during_a_read_waits_for_it() -> None:
    source = Source()
    tasks = await asking(source, 3)
    source.released.set()
    assert (await asyncio.gather(*tasks), source.reads) == ([1, 1, 1], 1)


async def test_a_read_goes_on_if_the_first_who_asked_is_cancelled() -> None:
    source = Source()
    first, second = await asking(source, 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.released.set()
    assert (await second, source.reads) == (1, 1)


async def test_a_value_is_as_old_as_the_beginning_of_its_read() -> None:
    source = Source()
    [first] = await asking(source, 1)
    source.now = 8.0  # a slow read
    source.released.set()
    assert await first == 1
    source.now = 10.0
    assert await source.latest.get() == 1
    source.now = 10.5
    assert await source.latest.get() == 2


async def test_a_failure_is_raised_to_all_who_wait_and_not_kept() -> None:
    source = Source(failing=(1,))
    tasks = await asking(source, 2)
    source.released.set()
    assert [str(error) for error in await asyncio.gather(*tasks, return_exceptions=True)] == ["away", "away"]
    assert (await source.latest.get(), source.reads) == (2, 2)
