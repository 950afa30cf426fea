"""Faults at random under steady load, over several raylets on this machine.

    make chaos CHAOS_MINUTES=10      (or: python -m loadtests.chaos --minutes 10 --seed 1 --rate 4 --report chaos.json)

A head and two worker nodes, each with a proxy, and our application over them: a replayed member, and a member and a
target behind an endpoint that can be told to break (a test double of models; engine, router, scorer and proxies are the
real ones). Clients send plain requests, streams and some that leave, at random times, through whichever proxy accepts a
connection. Faults are drawn from the seed, one at a time, with breaks in which all has to be well again. Exit code 1
unless every request ended in an answer or an error of the API within its deadline, the logged decisions are those of
the answers, nothing is left behind, and a last member that is killed comes back.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random

os.environ |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_LOG_TO_STDERR": "0"}

import psutil
import ray
from rich.console import Console

from loadtests.chaos.backend import Backend
from loadtests.chaos.faults import DISK, FAULTS, HEAD, World
from loadtests.chaos.head_state import redis
from loadtests.chaos.judge import Window, complaints, decisions
from loadtests.chaos.load import Load
from loadtests.chaos.raylets import UNREACHABLE, Raylets, small_disk
from loadtests.chaos.report import gap_s, markdown, report_json, rows
from loadtests.chaos.schedule import schedule
from loadtests.processes import Usage, usages

CALM_S = 20.0
"""Load without faults at the end, in which everything should have come back."""
EMPTY_S = 60.0
"""After the last request, until no model may have one any more."""
HEALS_S = 60.0
"""After the last fault, until a member that is killed then has been replaced: the cluster still manages itself."""
GROWTH_MB, GROWTH_FILES = 60.0, 60
"""Of a process that lived through the whole run: more is a leak, caches and pools fill up to less."""


class Loop:
    """An event loop in a thread of its own, since only the main thread may add nodes."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the load and the faults, print the results, and return the exit code."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        session = folder / "ray"
        session.mkdir()
        names = [name for name in FAULTS if name in (options.only or FAULTS)]
        if not stack.enter_context(small_disk(session)) and DISK in names:
            names.remove(DISK)
            console.print("No small disk can be mounted (that needs root), so none gets full.")
        if HEAD in names and not options.without_redis and not stack.enter_context(redis()):
            names.remove(HEAD)
            console.print("There is no redis-server (apt install redis-server), so the head is not killed.")
        if not names:
            raise SystemExit("No fault that was asked for can be caused here.")
        threaded, backend = Loop(), Backend()
        stack.callback(threaded.close)
        runner, port = asyncio.run_coroutine_threadsafe(backend.start(), threaded.loop).result()
        stack.callback(lambda: asyncio.run_coroutine_threadsafe(runner.cleanup(), threaded.loop).result())
        console.print("Starting a head, two workers and the application ...")
        raylets = Raylets(folder, session, port, options.routers)
        stack.callback(raylets.close)
        raylets.start()
        load = Load(raylets.urls, options.rate, options.seed)
        sending = asyncio.run_coroutine_threadsafe(load.run(), threaded.loop)
        time.sleep(3)  # some requests before anything breaks
        before = usages()
        windows = break_things(World(raylets, backend), load, names, options, console)
        time.sleep(CALM_S)
        threaded.loop.call_soon_threadsafe(load.stopped.set)
        sending.result()
        problems = left_behind(raylets, backend) + grown(before, usages())
        if not raylets.heals(HEALS_S):
            problems.append(f"a member could not be killed at the end, or did not come back within {HEALS_S:.0f} s")
        problems += complaints(load.sent, decisions(raylets.logs), windows)
        if options.report:
            report = report_json(load.sent, windows, seed=options.seed, rate=options.rate, problems=problems)
            options.report.write_text(json.dumps(report, indent=1), encoding="utf-8")
    console.print(markdown(rows(load.sent, windows)), soft_wrap=True, markup=False)
    console.print(
        f"{len(load.sent)} requests at {options.rate:g} a second, {len(windows)} faults, seed {options.seed}, "
        f"{options.routers} of the router; at most {gap_s(load.sent):.1f} s between two answers; ends: "
        f"{dict(Counter(item.end for item in load.sent))}; {psutil.cpu_count()} cores, load average "
        f"{os.getloadavg()[0]:.1f}; Ray {ray.__version__}."
    )
    for problem in problems:
        console.print(f"PROBLEM: {problem}", soft_wrap=True, markup=False)
    console.print("Every request ended as it should." if not problems else f"{len(problems)} problems.")
    return int(bool(problems))


def break_things(
    world: World, load: Load, names: list[str], options: argparse.Namespace, console: Console
) -> list[Window]:
    """Cause one fault after another until the time is over, and return what happened when."""
    windows: list[Window] = []
    chance = Random(options.seed)
    for planned in schedule(names, options.seed):
        if load.now_s() + planned.after_s + planned.lasts_s > options.minutes * 60:
            return windows
        time.sleep(planned.after_s)
        begun = load.now_s()
        with FAULTS[planned.name](world, chance) as detail:
            time.sleep(planned.lasts_s)
        windows.append(Window(planned.name, begun, load.now_s(), detail))
        ends = Counter(item.end for item in list(load.sent) if item.seconds)
        console.print(
            f"{begun:6.0f} s  {planned.name} ({detail}), {planned.lasts_s:.0f} s; so far {dict(ends)}",
            soft_wrap=True,
            markup=False,
        )
    raise AssertionError("the schedule has no end")


def left_behind(raylets: Raylets, backend: Backend) -> list[str]:
    """Wait until no model has a request, and return what is left after that time."""
    active: dict[str, int] = {}
    deadline = time.monotonic() + EMPTY_S
    while time.monotonic() < deadline:
        try:
            active = raylets.active() | {"the endpoint": backend.active}
        except UNREACHABLE as error:
            return [f"the models cannot be asked how many requests they have: {error!r}"]
        if not any(active.values()):
            return []
        time.sleep(1)
    return [f"{name} still has {count} requests" for name, count in active.items() if count]


def grown(before: list[Usage], after: list[Usage]) -> list[str]:
    """Return the processes that lived through the run and have grown."""
    first = {usage.pid: usage for usage in before}
    problems = []
    for usage in after:
        if (start := first.get(usage.pid)) is None:
            continue
        if usage.rss_mb - start.rss_mb > GROWTH_MB:
            problems.append(f"{usage.role} grew from {start.rss_mb:.0f} to {usage.rss_mb:.0f} MB")
        if usage.files - start.files > GROWTH_FILES:
            problems.append(f"{usage.role} has {usage.files} open files, at first {start.files}")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of faults; start and end take two more")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=4, help="requests a second")
    parser.add_argument("--routers", type=int, default=1, help="replicas of the router")
    parser.add_argument("--without-redis", action="store_true", help="the head restarts without what it knew")
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), metavar="FAULT", help="faults; default: all")
    parser.add_argument("--report", type=Path, help="write everything as JSON")
    sys.exit(run(parser.parse_args(), Console(width=150)))


if __name__ == "__main__":
    main()
