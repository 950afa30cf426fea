"""Requests through router, members, scorer and target, by discrete events: latencies without running anything.

One event at a time, in virtual seconds and from one seed. CPU work (proxy, router, scorer) waits for one of several
servers that take one job each; models are continuous batches, and a call goes to the replica with the fewer requests
of two drawn at random, as Ray Serve does it. Left out: the network, replicas that start or stop, limits of requests
held.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from serve_app.core.percentiles import nearest_rank
from serve_app.engines.replay.gpu_model import BatchSpeed, ContinuousBatch
from serve_app.engines.replay.gpu_model import Sequence as Running

Then = Callable[[], None]


class Clock:
    """Events in the order of their times; those at one time in the order in which they were made."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Then]] = []
        self._numbers = count()

    def at(self, time_s: float, then: Then) -> None:
        """Call `then` at that time."""
        heapq.heappush(self._events, (time_s, next(self._numbers), then))

    def run(self) -> None:
        """Run until no event is left."""
        while self._events:
            self.now_s, _, then = heapq.heappop(self._events)
            then()


class Servers:
    """`count` servers that take one job each, and one queue: what a Kendall symbol calls /count."""

    def __init__(self, clock: Clock, count: int) -> None:
        self._clock = clock
        self._free = self.count = count
        self._queue: deque[tuple[float, Then]] = deque()
        self.busy_s = 0.0
        self.longest_queue = 0

    def submit(self, service_s: float, then: Then) -> None:
        """Queue a job that takes `service_s`, and call `then` when it is done."""
        self._queue.append((service_s, then))
        self._start()
        self.longest_queue = max(self.longest_queue, len(self._queue))

    def _start(self) -> None:
        while self._free and self._queue:
            self._free -= 1
            service_s, then = self._queue.popleft()
            self.busy_s += service_s
            self._clock.at(self._clock.now_s + service_s, partial(self._finish, then))

    def _finish(self, then: Then) -> None:
        self._free += 1
        self._start()
        then()


class Gpu:
    """One replica of a model."""

    def __init__(self, clock: Clock, speed: BatchSpeed, slots: int) -> None:
        self._clock = clock
        self.batch = ContinuousBatch(speed, slots)
        self._then: dict[Running, Then] = {}
        self._due_s: float | None = None

    @property
    def load(self) -> int:
        """Return the number of its requests."""
        return len(self._then)

    def submit(self, prompt_tokens: int, completion_tokens: int, then: Then) -> None:
        """Start a request, and call `then` when its answer is complete."""
        self._advance()
        self._then[self.batch.add(self._clock.now_s, prompt_tokens, completion_tokens)] = then
        self._schedule()

    def _advance(self) -> None:
        for sequence in self.batch.advance(self._clock.now_s):
            self._clock.at(self._clock.now_s, self._then.pop(sequence))

    def _schedule(self) -> None:
        change_s = self.batch.next_change_s()
        if change_s is not None and change_s != self._due_s:
            self._due_s = change_s
            self._clock.at(change_s, lambda: self._wake(change_s))

    def _wake(self, due_s: float) -> None:
        if due_s == self._due_s:  # else a newer event has taken its place
            self._due_s = None
            self._advance()
            self._schedule()


@dataclass(frozen=True, slots=True)
class ModelFleet:
    """All replicas of one model."""

    speed: BatchSpeed
    slots: int
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class TierCalls:
    """The deployments that a tier asks, without those of models that an earlier tier asked.

    `scored`: the Scorer compares the answers. `isolated` deployments compare them, too, each by a signal of its own.
    """

    models: tuple[str, ...]
    scored: bool = False
    isolated: int = 0

    @property
    def calls(self) -> int:
        """Return how many calls the router makes for it: of models, and of what compares their answers."""
        return len(self.models) + self.scored + self.isolated


@dataclass(frozen=True, slots=True)
class CpuCosts:
    """Seconds of CPU a request takes outside of the models; a router replica is one process, so one core at the most.

    `router_call_s` is for each call of a model, and of what compares answers.
    """

    proxy_s: float
    router_s: float
    router_call_s: float
    scorer_s: float

    def router(self, tiers: Sequence[TierCalls]) -> float:
        """Return the router's seconds for a request that gets to all of these tiers."""
        return self.router_s + self.router_call_s * sum(tier.calls for tier in tiers)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What runs: `deferral_rates` has the deferred share of each tier but the last."""

    models: dict[str, ModelFleet]
    tiers: tuple[TierCalls, ...]
    deferral_rates: tuple[float, ...]
    costs: CpuCosts
    routers: int = 1
    scorers: int = 1
    proxies: int = 1


@dataclass(frozen=True, slots=True)
class Load:
    """Requests that come at random (Poisson), all alike; `concurrent` instead: so many clients, each one at a time."""

    rps: float
    prompt_tokens: int = 256
    completion_tokens: int = 128
    requests: int = 2000
    concurrent: int | None = None


@dataclass(slots=True)
class Simulated:
    """The result of a simulation: pairs of tiers asked and latency in seconds; `busy` in shares of 1."""

    latencies_s: list[tuple[int, float]] = field(default_factory=list)
    busy: dict[str, float] = field(default_factory=dict)
    longest_queue: dict[str, int] = field(default_factory=dict)
    duration_s: float = 0.0

    def percentile_s(self, percent: float, tiers: int | None = None) -> float:
        """Return a percentile of the latencies: of all requests, or of those that asked `tiers` tiers."""
        percentile = nearest_rank(self._latencies(tiers), percent)
        return float("nan") if percentile is None else percentile

    def mean_s(self, tiers: int | None = None) -> float:
        """Return the mean latency: of all requests, or of those that asked `tiers` tiers."""
        latencies = self._latencies(tiers)
        return sum(latencies) / len(latencies) if latencies else float("nan")

    def ended_with(self, tiers: int) -> int:
        """Count the requests that asked `tiers` tiers."""
        return sum(depth == tiers for depth, _ in self.latencies_s)

    @property
    def rps(self) -> float:
        """Return the number of requests answered a second."""
        return len(self.latencies_s) / self.duration_s

    def _latencies(self, tiers: int | None) -> list[float]:
        return [latency for depth, latency in self.latencies_s if tiers in (None, depth)]


def simulate(fleet: Fleet, load: Load, seed: int = 0) -> Simulated:
    """Simulate the load until every request has its answer."""
    return _Run(fleet, load, seed).run()


class _Run:
    def __init__(self, fleet: Fleet, load: Load, seed: int) -> None:
        self._fleet, self._load = fleet, load
        self._random = random.Random(seed)
        self._clock = Clock()
        self._cpus = {
            name: Servers(self._clock, number)
            for name, number in (("proxy", fleet.proxies), ("router", fleet.routers), ("scorer", fleet.scorers))
        }
        self._gpus = {
            name: [Gpu(self._clock, model.speed, model.slots) for _ in range(model.replicas)]
            for name, model in fleet.models.items()
        }
        self._result = Simulated()
        self._remaining = load.requests

    def run(self) -> Simulated:
        if self._load.concurrent is None:
            self._arrive_at_random()
        else:
            for _ in range(self._load.concurrent):
                self._arrive()
        self._clock.run()
        result, duration_s = self._result, self._clock.now_s
        result.duration_s = duration_s
        for name, servers in self._cpus.items():
            result.busy[name] = servers.busy_s / (duration_s * servers.count)
            result.longest_queue[name] = servers.longest_queue
        for name, gpus in self._gpus.items():
            result.busy[name] = sum(gpu.batch.busy_s for gpu in gpus) / (duration_s * len(gpus))
        return result

    def _arrive_at_random(self) -> None:
        time_s = 0.0
        for _ in range(self._load.requests):
            time_s += self._random.expovariate(self._load.rps)
            self._clock.at(time_s, self._arrive)

    def _arrive(self) -> None:
        if not self._remaining:
            return
        self._remaining -= 1
        depth = 1
        for rate in self._fleet.deferral_rates:
            if self._random.random() >= rate:
                break
            depth += 1
        started_s = self._clock.now_s
        # The router works before the models and after them; half of it each.
        router_s = self._fleet.costs.router(self._fleet.tiers[:depth]) / 2
        half = [("proxy", self._fleet.costs.proxy_s / 2), ("router", router_s)]

        def answered() -> None:
            self._cpu(list(reversed(half)), complete)

        def complete() -> None:
            self._result.latencies_s.append((depth, self._clock.now_s - started_s))
            if self._load.concurrent is not None:
                self._arrive()

        self._cpu(half, lambda: self._ask(0, depth, answered))

    def _cpu(self, work: list[tuple[str, float]], then: Then) -> None:
        if not work:
            then()
            return
        (name, service_s), *later_work = work
        self._cpus[name].submit(service_s, lambda: self._cpu(later_work, then))

    def _ask(self, tier: int, depth: int, then: Then) -> None:
        """Call all models of a tier at once, then the scorer, then the next tier."""
        asked_tier = self._fleet.tiers[tier]
        unanswered = len(asked_tier.models)

        def scored() -> None:
            if tier + 1 < depth:
                self._ask(tier + 1, depth, then)
            else:
                then()

        def compare() -> None:
            self._cpu([("scorer", self._fleet.costs.scorer_s)] if asked_tier.scored else [], scored)

        def answered() -> None:
            nonlocal unanswered
            unanswered -= 1
            if not unanswered:
                compare()

        if not asked_tier.models:
            compare()
        for name in asked_tier.models:
            gpu = min(self._random.sample(self._gpus[name], min(2, len(self._gpus[name]))), key=lambda gpu: gpu.load)
            gpu.submit(self._load.prompt_tokens, self._load.completion_tokens, answered)
