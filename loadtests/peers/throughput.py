"""Added latency, throughput and CPU of our router and of litellm's proxy before the same replayed backend."""

import asyncio
import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import aiohttp
from rich.table import Table

from loadtests.peers.environments import UnavailableError
from loadtests.peers.servers import KEY, Server, backend, litellm, ours

CONCURRENT = 16
ALONE = "backend alone"


@dataclass
class Measured:
    """What each round measured: median milliseconds one at a time, requests a second at 16, and CPU ms a request."""

    latency_ms: list[float] = field(default_factory=list)
    rps: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


async def _send(session: aiohttp.ClientSession, server: Server, *, stream: bool) -> None:
    body = {"model": server.model, "messages": [{"role": "user", "content": "What is it?"}], "stream": stream}
    async with session.post(f"{server.url}/chat/completions", json=body) as response:
        answer = await response.read()
        if response.status != 200 or b"word31" not in answer:
            raise SystemExit(f"{server.url} gave a wrong answer: {response.status} {answer[:300]!r}")


async def _one_at_a_time(session: aiohttp.ClientSession, server: Server, requests: int, *, stream: bool) -> float:
    durations = []
    for _ in range(requests):
        started = time.perf_counter()
        await _send(session, server, stream=stream)
        durations.append(time.perf_counter() - started)
    return statistics.median(durations) * 1000


async def _at_once(
    session: aiohttp.ClientSession, server: Server, requests: int, *, stream: bool
) -> tuple[float, float]:
    """Return requests a second and CPU milliseconds a request of the server, 16 at once."""
    numbers = count()

    async def client() -> None:
        while next(numbers) < requests:
            await _send(session, server, stream=stream)

    cpu_s, started = server.cpu_s(), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CONCURRENT)))
    seconds = time.perf_counter() - started
    return requests / seconds, (server.cpu_s() - cpu_s) / requests * 1000


async def _rounds(servers: Mapping[str, Server], rounds: int, requests: int) -> dict[tuple[str, bool], Measured]:
    results = {(name, stream): Measured() for name in servers for stream in (False, True)}
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {KEY}"}, connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        for server in servers.values():
            await _at_once(session, server, 4 * CONCURRENT, stream=False)
        for number in range(rounds):
            for stream in (False, True):
                for name in servers if number % 2 else reversed(list(servers)):
                    measured = results[name, stream]
                    measured.latency_ms.append(await _one_at_a_time(session, servers[name], requests, stream=stream))
                    rps, cpu_ms = await _at_once(session, servers[name], 4 * requests, stream=stream)
                    measured.rps.append(rps)
                    measured.cpu_ms.append(cpu_ms)
    return results


def measure(folder: Path, rounds: int, requests: int) -> tuple[Table, list[str]]:
    """Return the table of all servers, asked in turn, and why some are missing."""
    skipped: list[str] = []
    with ExitStack() as stack:
        behind = stack.enter_context(backend())
        servers = {ALONE: behind, **stack.enter_context(ours(behind, folder))}
        try:
            servers |= stack.enter_context(litellm(behind, folder))
        except (UnavailableError, RuntimeError) as problem:
            skipped.append(f"litellm is skipped: {problem}")
        return _table(asyncio.run(_rounds(servers, rounds, requests))), skipped


def _table(results: Mapping[tuple[str, bool], Measured]) -> Table:
    table = Table("server", "requests", "latency ms", "added ms", "16 at once /s", "CPU ms a request")
    for stream in (False, True):
        alone = results[ALONE, stream]
        for (name, streamed), measured in results.items():
            if streamed == stream:
                added = [own - floor for own, floor in zip(measured.latency_ms, alone.latency_ms, strict=True)]
                kind = "streamed" if stream else "plain"
                figures = (measured.latency_ms, added, measured.rps, measured.cpu_ms)
                table.add_row(name, kind, *map(_spread, figures))
    return table


def _spread(values: list[float]) -> str:
    """Return the median of the rounds, and their range."""
    return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"
