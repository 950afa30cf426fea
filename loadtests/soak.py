"""Constant load for a long time, and whether anything grows: memory, open files, threads; and whether anything fails.

    make soak MINUTES=60        (or: python -m loadtests.soak --minutes 60 --rate 10)

Starts configs/fleet-sim.yaml without scaling, finds the saturation rate by 64 requests in flight at once, and then
sends requests at random at half of it. Every process of Ray Serve is sampled; its slopes are least squares over the
second half of the samples, since caches and pools fill up at first. Exit code 1 where a slope is above `--growth` (a
share of what there is, an hour) and adds up to more than `SLACK`, where a process is gone, or where a request failed.
Tasks and handles of a process are not counted from outside; those that leak keep memory, which is.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

os.environ |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_LOG_TO_STDERR": "0"}

import psutil
import ray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from loadtests.asking import Answered, at_once, at_random
from loadtests.benches.bench_scaling import deploy, percentile, simulated
from loadtests.processes import Usage, usages
from serve_app.deployments.local.cluster import local_cluster

FIGURES = ("rss_mb", "files", "threads")
SLACK = {"rss_mb": 5.0, "files": 3.0, "threads": 3.0}
"""Growth over the whole run, by the slope, that is no leak: a pool's next thread, an arena of the allocator."""
SAMPLE_S = 5.0
SETTLED = 0.5
"""Share of the samples, from the end, that slopes are taken from."""


@dataclass(frozen=True)
class Growth:
    """One figure of one process: `per_hour` by least squares, over `hours`; `start` and `end` are means of a tenth."""

    role: str
    pid: int
    figure: str
    start: float
    end: float
    per_hour: float
    hours: float

    def grows(self, limit: float) -> bool:
        """Return whether it grows by more than the share `limit` per hour, and by more than the slack in all."""
        return self.per_hour > limit * max(self.start, 1.0) and self.per_hour * self.hours > SLACK[self.figure]


def growths(samples: list[tuple[float, list[Usage]]]) -> list[Growth]:
    """Return the growth of every process that is in all samples of the last `SETTLED`; times in seconds."""
    settled = samples[int(len(samples) * (1 - SETTLED)) :]
    series: dict[tuple[str, int], list[tuple[float, Usage]]] = defaultdict(list)
    for at_s, sample in settled:
        for usage in sample:
            series[usage.role, usage.pid].append((at_s, usage))
    return [
        growth(role, pid, figure, [(at_s, getattr(usage, figure)) for at_s, usage in points])
        for (role, pid), points in sorted(series.items())
        if len(points) == len(settled) and len(points) > 1
        for figure in FIGURES
    ]


def growth(role: str, pid: int, figure: str, points: list[tuple[float, float]]) -> Growth:
    times, values = zip(*points, strict=True)
    slope = statistics.linear_regression(times, values).slope
    tenth = max(1, len(values) // 10)
    hours = (times[-1] - times[0]) / 3600
    return Growth(
        role, pid, figure, statistics.fmean(values[:tenth]), statistics.fmean(values[-tenth:]), slope * 3600, hours
    )


def lost(samples: list[tuple[float, list[Usage]]]) -> list[str]:
    """Return the processes of the first sample that are missing in the last."""
    first, last = ({(usage.role, usage.pid) for usage in samples[number][1]} for number in (0, -1))
    return [f"{role} ({pid})" for role, pid in sorted(first - last)]


async def soak(
    url: str, rate: float, seconds: float, console: Console
) -> tuple[Answered, list[tuple[float, list[Usage]]]]:
    samples: list[tuple[float, list[Usage]]] = []
    results = Answered()

    async def sample(progress: Progress, task: TaskID) -> None:
        started = time.monotonic()
        while True:
            processes = await asyncio.to_thread(usages)
            samples.append((time.monotonic(), processes))
            router_mb = max((usage.rss_mb for usage in processes if usage.role == "Router"), default=0.0)
            description = (
                f"{len(results.latencies_s)} answered, {sum(results.errors.values())} failed, router {router_mb:.0f} MB"
            )
            progress.update(task, completed=time.monotonic() - started, description=description)
            await asyncio.sleep(SAMPLE_S)

    columns = (BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(TextColumn("{task.description}"), *columns, console=console) as progress:
        # A group: if the samples end, so does the load, and there is no verdict on half of them.
        async with asyncio.TaskGroup() as group:
            sampling = group.create_task(sample(progress, progress.add_task("", total=seconds)))
            await at_random(url, "default", {}, rate, seconds, seed=1, results=results)
            sampling.cancel()
    return results, samples


def table(figures: list[Growth], limit: float) -> Table:
    result = Table("process", "pid", "figure", "start", "end", "an hour", "")
    for growth in figures:
        verdict = "grows" if growth.grows(limit) else ""
        numbers = (f"{number:.1f}" for number in (growth.start, growth.end, growth.per_hour))
        result.add_row(growth.role, str(growth.pid), growth.figure, *numbers, verdict)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, help="requests a second; default: half of the saturation rate")
    parser.add_argument("--growth", type=float, default=0.05, help="share of growth an hour that is allowed")
    options = parser.parse_args()
    console = Console(width=130)
    with tempfile.TemporaryDirectory() as folder, local_cluster() as cluster:
        url = deploy(simulated(0.4), Path(folder) / "config.yaml", cluster).url
        saturation = asyncio.run(at_once(url, "default", {}, 64, 20))
        rate = options.rate or saturation.rps / 2
        console.print(f"Saturation: {saturation.rps:.1f} requests/s with 64 at once. {rate:.1f}/s from here on.")
        results, samples = asyncio.run(soak(url, rate, options.minutes * 60, console))
    figures = growths(samples)
    console.print(table(figures, options.growth))
    latencies = results.latencies_s
    p50, p99 = percentile(latencies, 50), percentile(latencies, 99)
    console.print(
        f"{len(latencies)} requests in {options.minutes:g} minutes, {sum(results.errors.values())} failed "
        f"{dict(results.errors) or ''}, p50 {p50:.2f} s, p99 {p99:.2f} s; {len(samples)} samples, slopes over the last "
        f"{SETTLED:.0%}; {psutil.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; Ray {ray.__version__}."
    )
    faults = [f"{trend.figure} of {trend.role} ({trend.pid}) grows" for trend in figures if trend.grows(options.growth)]
    faults += [f"{process} is gone" for process in lost(samples)]
    faults += [f"{number} requests failed: {error}" for error, number in results.errors.items()]
    sys.exit("; ".join(faults) if faults else None)


if __name__ == "__main__":
    main()
