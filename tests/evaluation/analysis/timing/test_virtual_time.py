"""The jumping clock."""

import asyncio

import pytest

from serve_app.evaluation.analysis.timing import virtual_time


def test_hours_pass_at_once_and_in_order() -> None:
    async def nap(hours: float) -> float:
        await asyncio.sleep(3600 * hours)
        return asyncio.get_running_loop().time()

    async def naps() -> list[float]:
        return list(await asyncio.gather(nap(2), nap(1)))

    assert virtual_time.run(naps()) == pytest.approx([7200, 3600])


def test_a_time_limit_is_in_virtual_time() -> None:
    async def limited() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.sleep(60)
        return asyncio.get_running_loop().time()

    assert virtual_time.run(limited()) == pytest.approx(30)


def test_what_nothing_will_end_is_an_error() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="no timer will end it"):
        virtual_time.run(forever())
