"""What our graph adds to vLLM, against `ray.serve.llm`'s own graph with the same model, as ratios from one run.

    make bench-vllm     (or: .venv-vllm/bin/python -m loadtests.benches.bench_vllm --rounds 6)

One cluster has two applications: Ray's `build_openai_app` and a cascade's router, each with one replica of the same
model and the same engine arguments. They are asked in turn, so only one decodes at a time: latency of one
request of 16 tokens, time to the first token of a stream, and throughput with 4 at once. Ray's ingress has one replica,
as our router has, and its tokens are not held back, as ours are not.
"""

import argparse
import asyncio
import os
import statistics
import time
from itertools import count
from pathlib import Path
from typing import Any

os.environ |= {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
}

import aiohttp
from ray import serve
from ray.serve.schema import LoggingConfig
from rich.console import Console
from rich.progress import track
from rich.table import Table

from serve_app.app import build_app
from serve_app.config import AppConfig
from serve_app.config.ray_rules import PROXY_START_TIMEOUT
from serve_app.deployments.local.cluster import local_cluster
from serve_app.deployments.vllm.options import llm_arguments
from tests.models.vllm_models import folder

QUIET = LoggingConfig(enable_access_log=False)
PORT = 8766
MODEL = "small"
ARMS = {"ray.serve.llm": "/ray", "cascade": "/cascade"}


def config(weights: Path) -> AppConfig:
    model = {
        "engine": "vllm",
        "weights": str(weights),
        "device": "cpu",
        "dtype": "bfloat16",
        "context_tokens": 1024,
        "max_num_seqs": 16,
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "env": {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"},
        "deployment": {"placement_group_bundles": [{"CPU": 0.4}], "max_ongoing_requests": 1000},
    }
    return AppConfig.model_validate(
        {"models": {MODEL: model}, "cascades": {"default": {"tiers": [{"models": [MODEL]}]}}}
    )


def rays_own(args: AppConfig, weights: Path) -> Any:
    from ray.serve.llm import LLMConfig, build_openai_app

    arguments = llm_arguments(MODEL, args.models[MODEL], str(weights))
    ingress = {"num_replicas": 1, "autoscaling_config": None, "ray_actor_options": {"num_cpus": 0.1}}
    return build_openai_app({"llm_configs": [LLMConfig(**arguments)], "ingress_deployment_config": ingress})


def body(stream: bool) -> dict[str, Any]:
    question = {"role": "user", "content": "Tell me a story about a dog."}
    return {"model": MODEL, "messages": [question], "max_tokens": 16, "temperature": 0, "stream": stream}


async def whole_s(session: aiohttp.ClientSession, arm: str) -> float:
    started = time.perf_counter()
    async with session.post(f"http://127.0.0.1:{PORT}{ARMS[arm]}/v1/chat/completions", json=body(False)) as response:
        answer = await response.json()
    if answer["usage"]["completion_tokens"] != 16:
        raise SystemExit(f"{arm} gave a wrong answer: {answer}")
    return time.perf_counter() - started


async def first_token_s(session: aiohttp.ClientSession, arm: str) -> float:
    started, first = time.perf_counter(), None
    async with session.post(f"http://127.0.0.1:{PORT}{ARMS[arm]}/v1/chat/completions", json=body(True)) as response:
        async for line in response.content:
            if first is None and b'"content":"' in line.replace(b" ", b"") and b'"content":""' not in line:
                first = time.perf_counter() - started
    if first is None:
        raise SystemExit(f"{arm} streamed nothing.")
    return first


async def median_ms(ask: Any, session: aiohttp.ClientSession, arm: str, requests: int) -> float:
    return statistics.median([await ask(session, arm) for _ in range(requests)]) * 1000


async def throughput(session: aiohttp.ClientSession, arm: str, requests: int) -> float:
    """Return requests per second, 4 at once."""
    numbers = count()

    async def worker() -> None:
        while next(numbers) < requests:
            await whole_s(session, arm)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(4)))
    return requests / (time.perf_counter() - started)


async def measure(rounds: int, requests: int) -> dict[tuple[str, str], list[float]]:
    measurements: dict[tuple[str, str], list[float]] = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600)) as session:
        for arm in ARMS:
            await throughput(session, arm, 8)
        for number in track(range(rounds), "measuring"):
            arms = list(ARMS) if number % 2 else list(reversed(ARMS))
            for arm in arms:
                measurements.setdefault(("latency, ms", arm), []).append(
                    await median_ms(whole_s, session, arm, requests)
                )
            for arm in arms:
                measurements.setdefault(("first token, ms", arm), []).append(
                    await median_ms(first_token_s, session, arm, requests)
                )
            for arm in arms:
                measurements.setdefault(("requests a second, 4 at once", arm), []).append(
                    await throughput(session, arm, requests)
                )
    return measurements


def report(measurements: dict[tuple[str, str], list[float]]) -> Table:
    table = Table("figure", *ARMS, "cascade / ray.serve.llm")
    for figure in dict.fromkeys(figure for figure, _ in measurements):
        rays, ours = (measurements[figure, arm] for arm in ARMS)
        ratios = [b / a for a, b in zip(rays, ours, strict=True)]
        spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        table.add_row(figure, f"{statistics.median(rays):.1f}", f"{statistics.median(ours):.1f}", spread)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--requests", type=int, default=12, help="of each kind in a round")
    options = parser.parse_args()
    weights = folder("smollm2-135m")
    args = config(weights)
    with local_cluster(PROXY_START_TIMEOUT):
        serve.start(http_options={"host": "127.0.0.1", "port": PORT})
        serve.run(rays_own(args, weights), name="ray", route_prefix="/ray", logging_config=QUIET)
        serve.run(build_app(args), name="cascade", route_prefix="/cascade", logging_config=QUIET)
        measurements = asyncio.run(measure(options.rounds, options.requests))
    Console(width=120).print(report(measurements))


if __name__ == "__main__":
    main()
