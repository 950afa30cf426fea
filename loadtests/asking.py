"""Requests to a running server: a number at once, or at random at a given rate. A number makes each prompt differ."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp

from serve_app.core.record_json import from_json


@dataclass
class Answered:
    """Latencies in seconds by whether the request was deferred, costs summed up, and what went wrong."""

    accepted_s: list[float] = field(default_factory=list)
    deferred_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    flops: float = 0.0
    duration_s: float = 0.0

    @property
    def latencies_s(self) -> list[float]:
        return self.accepted_s + self.deferred_s

    @property
    def rps(self) -> float:
        return len(self.latencies_s) / self.duration_s


async def send(
    session: aiohttp.ClientSession, url: str, model: str, number: int, options: Any, results: Answered
) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": f"Question {number}?"}], "cascade": options}
    started = time.perf_counter()
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body) as response:
            answer = await response.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        results.errors[type(error).__name__] += 1
        return
    taken_s = time.perf_counter() - started
    if response.status != 200:
        results.errors[f"status {response.status}"] += 1
        return
    record = from_json(answer["cascade"])
    (results.deferred_s if record.deferred else results.accepted_s).append(taken_s)
    results.flops += record.cost.flops or 0.0


async def at_once(url: str, model: str, options: Any, concurrent: int, seconds: float) -> Answered:
    """Run `concurrent` clients for `seconds`, each of which sends one request after another."""
    results, numbers = Answered(), count()

    async def client(session: aiohttp.ClientSession) -> None:
        while time.perf_counter() < ends:
            await send(session, url, model, next(numbers), options, results)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        started = time.perf_counter()
        ends = started + seconds
        await asyncio.gather(*(client(session) for _ in range(concurrent)))
        results.duration_s = time.perf_counter() - started
    return results


async def at_random(
    url: str, model: str, options: Any, rps: float, seconds: float, seed: int, results: Answered | None = None
) -> Answered:
    """Send requests at random times (Poisson), whether or not earlier ones are answered.

    The same `seed` gives the same arrivals. A caller that passes `results` can watch it fill.
    """
    results, chance = results or Answered(), random.Random(seed)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as group:
        started, due_s = time.perf_counter(), 0.0
        for number in count():
            due_s += chance.expovariate(rps)
            if due_s > seconds:
                break
            await asyncio.sleep(max(0.0, started + due_s - time.perf_counter()))
            group.create_task(send(session, url, model, number, options, results))
    results.duration_s = seconds
    return results
