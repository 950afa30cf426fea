"""What Ray Serve's own settings cost and gain under our graph, as ratios to its defaults, in one run.

    make bench-floor        (or: python -m loadtests.benches.bench_floor --rounds 6 --only default haproxy)

Each arm is the same cascade of models that answer at once, on a cluster of its own in a process of its own, since Ray
reads its settings when it is imported. The arms take turns, round by round. Of each: requests a second with 16 at once,
CPU seconds a request of all of Serve's processes (proxy, router, models, controller; not of the client), and the median
latency of one at a time; and whether a stream still arrives token by token, and a client that leaves still stops the
model.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
from rich.console import Console
from rich.progress import track
from rich.table import Table

ONE_LOOP = {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0", "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0"}
HAPROXY = {"RAY_SERVE_ENABLE_HA_PROXY": "1"}
ARMS: dict[str, dict[str, str]] = {
    "default": {},
    "one loop": ONE_LOOP,
    "gRPC": {"RAY_SERVE_USE_GRPC_BY_DEFAULT": "1"},
    "frozen GC": {"RAY_SERVE_FREEZE_GC_ON_STARTUP": "1"},
    "throughput, with proxy": {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"},
    "haproxy": HAPROXY,
    "haproxy, one loop": HAPROXY | ONE_LOOP,
    "haproxy, throughput": HAPROXY | {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"},
}
OURS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
}
PORT = 8766
URL = f"http://127.0.0.1:{PORT}"
SLOW = {"contains": "slowly", "text": "word " * 3000, "token_s": 0.02}
"""An answer that takes a minute."""


@dataclass(frozen=True)
class Measurement:
    """One arm in one round."""

    accepted_rps: float
    accepted_cpu_ms: float
    """CPU a request, in ms, of Serve's processes."""
    accepted_ms: float
    deferred_rps: float
    deferred_cpu_ms: float
    deferred_ms: float
    streams: bool
    """Whether the first token of an answer that takes a minute came within half of it."""
    stops: bool
    """Whether the model had a free slot again soon after the client of its stream had left."""


def application() -> Any:
    from serve_app.app import build_app
    from serve_app.config import AppConfig

    deployment = {"max_ongoing_requests": 1000}
    model: dict[str, Any] = {"engine": "replay", "default": "It is Paris.", "deployment": deployment}
    models = dict.fromkeys(("first", "second", "target"), model) | {"one-slot": model | {"answers": [SLOW], "slots": 1}}
    tiers = [{"models": ["first", "second"], "signal": "exact", "threshold": 0.5}, {"models": ["target"]}]
    config = {
        "models": models,
        "cascades": {"default": {"tiers": tiers}},
        "scorer": {"deployment": deployment},
        "router": {"deployment": deployment, "log_decisions": False},
    }
    return build_app(AppConfig.model_validate(config))


async def loaded(options: dict[str, str], seconds: float) -> tuple[float, float, float]:
    """Return requests a second at 16 at once, CPU ms of Serve a request, and median ms of one at a time."""
    from loadtests.asking import at_once
    from loadtests.processes import cpu_s, usages

    before = sum(cpu_s(usages()).values())
    many = await at_once(URL, "default", options, 16, seconds)
    cpu = sum(cpu_s(usages()).values()) - before
    single = await at_once(URL, "default", options, 1, seconds / 2)
    if errors := many.errors + single.errors:
        raise SystemExit(f"Requests failed: {errors}")
    return many.rps, 1000 * cpu / len(many.latencies_s), 1000 * statistics.median(single.latencies_s)


async def stream_left_early() -> tuple[bool, bool]:
    """Return whether a stream arrives as it is made, and whether its model has a free slot once the client left."""

    def ask(text: str, *, stream: bool) -> Any:
        body = {"model": "one-slot", "stream": stream, "messages": [{"role": "user", "content": text}]}
        return session.post(f"{URL}/v1/chat/completions", json=body)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:
        try:
            async with ask("slowly", stream=True) as response:
                await anext(aiter(response.content))
                response.close()
        except TimeoutError:
            return False, False
        try:
            async with ask("Hello", stream=False) as response:
                return True, response.status == 200
        except TimeoutError:
            return True, False


async def measure(seconds: float) -> Measurement:
    await loaded({"force": "defer"}, 1)  # imports, connections, caches
    accepted, deferred = await loaded({}, seconds), await loaded({"force": "defer"}, seconds)
    return Measurement(*accepted, *deferred, *await stream_left_early())


def run_arm(seconds: float) -> None:
    """Measure the graph under the settings of this process's environment, and print the measurement as JSON."""
    from ray import serve
    from ray.serve.schema import LoggingConfig

    from serve_app.config.ray_rules import PROXY_START_TIMEOUT
    from serve_app.deployments.local.cluster import local_cluster

    with local_cluster(PROXY_START_TIMEOUT):
        serve.start(http_options={"host": "127.0.0.1", "port": PORT})
        serve.run(application(), name="bench", logging_config=LoggingConfig(enable_access_log=False))
        print(json.dumps(asdict(asyncio.run(measure(seconds)))))


def measured(arm: str, seconds: float) -> Measurement:
    """Run one arm in a process of its own."""
    command = [sys.executable, "-m", "loadtests.benches.bench_floor", "--arm", "--seconds", str(seconds)]
    environment = os.environ | OURS | ARMS[arm]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    if process.returncode:
        raise SystemExit(f"{arm}: {process.stderr[-2000:]}{process.stdout[-2000:]}")
    # Ray's own messages may come before and after it.
    [measurement] = [line for line in process.stdout.splitlines() if line.startswith("{")]
    return Measurement(**json.loads(measurement))


FIGURES = {
    "accepted_rps": "accepted, 16 at once (/s)",
    "accepted_cpu_ms": "accepted, CPU (ms)",
    "accepted_ms": "accepted, 1 at a time (ms)",
    "deferred_rps": "deferred, 16 at once (/s)",
    "deferred_cpu_ms": "deferred, CPU (ms)",
    "deferred_ms": "deferred, 1 at a time (ms)",
}


def report(rounds: dict[str, list[Measurement]]) -> Table:
    """Return medians, and below the default's those of the rounds' ratios to it, with their range."""
    table = Table("settings", *FIGURES.values(), "streams", "stops")
    for arm, measurements in rounds.items():
        cells = []
        for field in FIGURES:
            values = [getattr(measurement, field) for measurement in measurements]
            ratios = [a / getattr(b, field) for a, b in zip(values, rounds["default"], strict=True)]
            spread = f"\n{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
            cells.append(f"{statistics.median(values):.1f}{'' if arm == 'default' else spread}")
        checks = [
            "yes" if all(getattr(measurement, property_name) for measurement in measurements) else "NO"
            for property_name in ("streams", "stops")
        ]
        table.add_row(arm, *cells, *checks)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6, help="of each load, in each round")
    parser.add_argument("--only", nargs="+", choices=list(ARMS), default=list(ARMS), help="the default is always run")
    parser.add_argument("--arm", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        run_arm(options.seconds)
        return
    arms = ["default", *(arm for arm in options.only if arm != "default")]
    rounds: dict[str, list[Measurement]] = {arm: [] for arm in arms}
    console = Console(stderr=True)
    turns = [(number, arm) for number in range(options.rounds) for arm in (arms if number % 2 else reversed(arms))]
    for _, arm in track(turns, "measuring", console=console):
        rounds[arm].append(measured(arm, options.seconds))
    Console(width=160).print(report(rounds))


if __name__ == "__main__":
    main()
