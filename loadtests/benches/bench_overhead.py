"""What the cascade adds to a bare Ray Serve graph of the same shape, as ratios measured side by side in one run.

    make bench        (or: python -m loadtests.benches.bench_overhead --rounds 8)

Both graphs are deployed on one cluster with the same Serve settings: an ingress, two members, a target, a scorer. In
the bare graph every part is a no-op and the ingress is a plain Ray Serve deployment that reads and writes JSON. In ours
the models are replay engines without latency and the scorer compares exactly: in one arm it is asked, as in the bare
graph; in the other, "inline", the router compares such short answers itself, as it does by default. All are asked in
turn, round by round: latency one request at a time, then throughput with 16 at once. `deferred` requests call all three
models.

One more arm, the bare graph behind FastAPI with OpenAI's fields validated by pydantic, says how much of the difference
is the price of a validated HTTP API rather than of the cascade.
"""

import argparse
import asyncio
import os
import statistics
import time
from itertools import count
from typing import Any

os.environ |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_LOG_TO_STDERR": "0"}

import aiohttp
from fastapi import FastAPI
from ray import serve
from ray.serve.schema import LoggingConfig
from rich.console import Console
from rich.progress import track
from rich.table import Table
from starlette.requests import Request

from serve_app.api.chat.schema import ChatCompletion
from serve_app.app import build_app
from serve_app.config import AppConfig
from serve_app.config.ray_rules import PROXY_START_TIMEOUT
from serve_app.deployments.local.cluster import local_cluster

ACTOR = {"ray_actor_options": {"num_cpus": 0.1}, "max_ongoing_requests": 1000}
QUIET = LoggingConfig(enable_access_log=False)
PORT = 8765


class NoModel:
    async def generate(self, question: str) -> str:
        return "It is Paris."


class NoScorer:
    async def score(self, texts: list[str]) -> list[list[float]]:
        return [[1.0] * len(texts)] * len(texts)


class Calls:
    """The calls that a cascade makes: members at once, scorer, perhaps the target."""

    def __init__(self, members: list[Any], target: Any, scorer: Any) -> None:
        self.members, self.target, self.scorer = members, target, scorer

    async def answer(self, question: str) -> dict[str, Any]:
        answers = await asyncio.gather(*(member.generate.remote(question) for member in self.members))
        await self.scorer.score.remote(list(answers))
        text = await self.target.generate.remote(question) if "defer" in question else answers[0]
        return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


class BareIngress(Calls):
    async def __call__(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        return await self.answer(body["messages"][-1]["content"])


api = FastAPI()


@serve.deployment(name="Ingress", **ACTOR)
@serve.ingress(api)
class ValidatedIngress(Calls):
    @api.post("/")
    async def complete(self, body: ChatCompletion) -> dict[str, Any]:
        return await self.answer(body.messages[-1].text)


def bare(ingress: Any) -> Any:
    model, scorer = serve.deployment(NoModel, **ACTOR), serve.deployment(NoScorer, **ACTOR)
    members = [model.options(name=name).bind() for name in ("first", "second")]
    return ingress.bind(members, model.options(name="target").bind(), scorer.bind())


def ours(inline_characters: int) -> Any:
    deployment = {"max_ongoing_requests": 1000}
    wrong = {"contains": "defer", "text": "It is Rome."}
    models = {
        name: {"engine": "replay", "default": "It is Paris.", "answers": answers, "deployment": deployment}
        for name, answers in (("first", []), ("second", [wrong]), ("target", []))
    }
    tiers = [{"models": ["first", "second"], "signal": "exact", "threshold": 0.5}, {"models": ["target"]}]
    config = {
        "models": models,
        "cascades": {"default": {"tiers": tiers}},
        "scorer": {"deployment": deployment, "inline_characters": inline_characters},
        "router": {"deployment": deployment},
    }
    return build_app(AppConfig.model_validate(config))


ARMS = {
    "bare": ("/bare", lambda: bare(serve.deployment(BareIngress, name="Ingress", **ACTOR))),
    "bare + FastAPI": ("/validated", lambda: bare(ValidatedIngress)),
    "cascade": ("/cascade", lambda: ours(0)),
    "cascade inline": ("/inline", lambda: ours(2000)),
}
PATHS = {
    "bare": "/bare",
    "bare + FastAPI": "/validated/",
    "cascade": "/cascade/v1/chat/completions",
    "cascade inline": "/inline/v1/chat/completions",
}


async def send(session: aiohttp.ClientSession, arm: str, question: str) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": question}], "max_tokens": 16}
    async with session.post(f"http://127.0.0.1:{PORT}{PATHS[arm]}", json=body) as response:
        answer = await response.json()
        if answer["choices"][0]["message"]["content"] != "It is Paris.":
            raise SystemExit(f"{arm} gave a wrong answer: {answer}")


async def latency_ms(session: aiohttp.ClientSession, arm: str, question: str, requests: int) -> float:
    """Return the median latency of so many requests, one at a time."""
    durations = []
    for _ in range(requests):
        started = time.perf_counter()
        await send(session, arm, question)
        durations.append(time.perf_counter() - started)
    return statistics.median(durations) * 1000


async def throughput(session: aiohttp.ClientSession, arm: str, question: str, requests: int) -> float:
    """Return requests per second, 16 at once."""
    numbers = count()

    async def worker() -> None:
        while next(numbers) < requests:
            await send(session, arm, question)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(16)))
    return requests / (time.perf_counter() - started)


async def measure(rounds: int, requests: int) -> dict[tuple[str, str, str], list[float]]:
    measurements: dict[tuple[str, str, str], list[float]] = {}
    async with aiohttp.ClientSession() as session:
        for arm in ARMS:
            await throughput(session, arm, "please defer", 200)
        for number in track(range(rounds), "measuring"):
            arms = list(ARMS) if number % 2 else list(reversed(ARMS))
            for kind, question in (("accepted", "What is it?"), ("deferred", "please defer")):
                for arm in arms:
                    measurements.setdefault((kind, "latency", arm), []).append(
                        await latency_ms(session, arm, question, requests)
                    )
                for arm in arms:
                    measurements.setdefault((kind, "throughput", arm), []).append(
                        await throughput(session, arm, question, 4 * requests)
                    )
    return measurements


def report(measurements: dict[tuple[str, str, str], list[float]]) -> Table:
    table = Table("requests", "figure", *ARMS, "FastAPI / bare", "cascade / bare", "inline / bare")
    for kind in ("accepted", "deferred"):
        for figure, unit in (("latency", "ms"), ("throughput", "1/s")):
            values = {arm: measurements[kind, figure, arm] for arm in ARMS}
            row = [f"{statistics.median(values[arm]):.1f} {unit}" for arm in ARMS]
            pairs = (("bare + FastAPI", "bare"), ("cascade", "bare"), ("cascade inline", "bare"))
            row += [ratio(values[above], values[below]) for above, below in pairs]
            table.add_row(kind, "added latency" if figure == "latency" else figure, *row)
    return table


def ratio(above: list[float], below: list[float]) -> str:
    """Return the median of the rounds' ratios, and their range."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--requests", type=int, default=100, help="one at a time in a round; four times as many at 16")
    options = parser.parse_args()
    with local_cluster(PROXY_START_TIMEOUT):
        serve.start(http_options={"host": "127.0.0.1", "port": PORT})
        for arm, (prefix, build) in ARMS.items():
            serve.run(build(), name=arm.replace(" ", ""), route_prefix=prefix, logging_config=QUIET)
        measurements = asyncio.run(measure(options.rounds, options.requests))
    Console(width=150).print(report(measurements))


if __name__ == "__main__":
    main()
