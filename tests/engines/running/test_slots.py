"""Slots: who waits, what is counted, and what closing ends."""

import asyncio

import pytest

from serve_app.engines import EngineCounters, Meter
from serve_app.engines.running.slots import Slots
from serve_app.errors import EngineError


async def test_requests_are_counted_with_their_slot_and_tokens_when_they_leave() -> None:
    slots, meter = Slots(1), Meter()
    async with slots.slot(meter):
        waiting = asyncio.create_task(_take(slots, Meter(1, 1)))
        await asyncio.sleep(0)
        meter.prompt_tokens, meter.completion_tokens = 5, 2
        assert slots.counters() == EngineCounters(active=1, requests=1, prompt_tokens=0, completion_tokens=0)
    assert slots.counters() == EngineCounters(active=0, requests=1, prompt_tokens=5, completion_tokens=2)
    await waiting
    assert slots.counters() == EngineCounters(active=0, requests=2, prompt_tokens=6, completion_tokens=3)


async def test_a_request_that_fails_is_counted_all_the_same() -> None:
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError):
        await _take(slots, Meter(7, 1), ZeroDivisionError())
    assert slots.counters() == EngineCounters(active=0, requests=1, prompt_tokens=7, completion_tokens=1)
    await _take(slots, Meter())  # its slot is free


async def test_one_that_gives_up_waiting_is_not_counted() -> None:
    slots = Slots(1)
    async with slots.slot(Meter()):
        waiting = asyncio.create_task(_take(slots, Meter(1, 1)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert slots.counters().requests == 1


async def test_closing_ends_all_waiting() -> None:
    slots = Slots(1)
    async with slots.slot(Meter()):
        tasks = [asyncio.create_task(work) for work in (_take(slots, Meter()), slots.sleep(3600))]
        await asyncio.sleep(0)
        slots.close()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(error, EngineError)
            assert str(error) == "The model was closed."
    for work in (_take(slots, Meter()), slots.sleep(0), slots.sleep(1)):
        with pytest.raises(EngineError, match="The model was closed"):
            await work
    with pytest.raises(EngineError, match="The model was closed"), slots.counted(Meter()):
        pass
    assert slots.counters().requests == 1


async def _take(slots: Slots, meter: Meter, error: Exception | None = None) -> None:
    async with slots.slot(meter):
        if error is not None:
            raise error
