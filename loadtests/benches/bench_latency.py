"""What each remedy against a cascade's latency gains and costs, with models at published speeds, in virtual time.

    make bench-latency        (or: python -m loadtests.benches.bench_latency --rates .1 .23 .6 --requests 2000)

The fleet of configs/fleet-sim-72b.yaml, whose header names its sources: members of 3B and 1.5B, and a second one of
1.5B where a tier has three, on a GPU each; a target of 72B on four GPUs; continuous batching. The decision core is the
server's, with its own calls, cancellations, speculation and costs; the models are clocks; arrivals are random (Poisson)
and do not wait for answers. The event loop jumps from timer to timer, so hours take minutes. Of this machine only the
seconds of a comparison count, which are those that it takes here. HTTP and Ray are left out but for `--hop-ms` on each
call.

By default lengths are drawn (lognormal, 128 tokens on average), and how much of an answer is what all could say is
uniform, on some prompts for each member by itself: two may agree and the third not. With `--records` (as `cascade
import` writes them) texts and lengths are those of three recorded members and a target, named by `--models` in that
order; speeds and sizes stay the fleet's. Thresholds are those that defer the share of requests in question, on the
same requests.

Nothing here says how good the answers are; quorum, early: decision and ladders return others than plain cascades at the
same deferral rate. `adaptive` has nothing to adapt to: seconds saved and GPU-seconds wasted both grow with the members'
time, so it asks ahead above a deferral rate of 18%, whatever the requests (with prices of tokens that would differ).
"""

import argparse
import asyncio
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from loadtests.latency.fleet import Clockwork, Fleet, KnownScorer
from loadtests.latency.workload import MEMBERS, TARGET, A, B, C, Workload, made_up, recorded, tokens_of
from serve_app.config import ReplayModel
from serve_app.config.serve_file import load
from serve_app.core.charges import charge
from serve_app.core.cost import ModelCost
from serve_app.core.running.run import Run
from serve_app.core.speculation import SpeculationPolicy
from serve_app.core.types.answer import Generation
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.policy import Tier
from serve_app.engines import ReplayConfig
from serve_app.engines.replay.engine import ReplayEngine
from serve_app.evaluation.analysis.timing import virtual_time
from serve_app.evaluation.records.file import Records
from serve_app.signals import ChowConfig, RougeConfig, confidence

FLEET = Path(__file__).parents[2] / "configs" / "fleet-sim-72b.yaml"
SPEEDS = {A: "qwen2.5-3b", B: "qwen2.5-1.5b", C: "qwen2.5-1.5b", TARGET: "qwen2.5-72b"}
GPU_USD_HOUR = 2.0
"""For `adaptive` alone, which weighs seconds against dollars: about what an A100 80GB costs by the hour."""
SECOND_USD = 0.01
"""What a second of waiting is worth to `adaptive`: 36 dollars an hour."""
SCORER_SIGNAL = "rougeL"
CHOW = ChowConfig(kind="chow_avg")
Remedy = Literal["", "always", "percentile 90", "adaptive"]
POLICIES: Mapping[str, SpeculationPolicy] = {
    "always": SpeculationPolicy("always"),
    "percentile 90": SpeculationPolicy(percentile=90),
    "adaptive": SpeculationPolicy("adaptive", second_usd=SECOND_USD),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.23, 0.35, 0.6], help="shares deferred")
    parser.add_argument("--requests", type=int, default=2000, help="in each measurement")
    parser.add_argument("--rps", type=float, default=1.0, help="arrivals a second, on average")
    parser.add_argument("--hop-ms", type=float, default=5.0, help="of each call of a model, for HTTP and Ray")
    parser.add_argument("--records", type=Path, help="recorded answers to play; default: made-up ones")
    parser.add_argument("--models", nargs=4, metavar="MODEL", help="of the records: three members and the target")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if (options.records is None) != (options.models is None):
        parser.error("--records needs --models, and the other way round")
    rng = random.Random(options.seed)
    if options.records is None:
        workload = made_up(options.requests, rng)
    else:
        workload = recorded(Records.load(options.records), options.models, options.requests, rng)
    bench = Bench(workload, options.rps, options.hop_ms / 1000, options.seed)
    console = Console(width=112)
    alone = bench.measure((Tier((TARGET,)),), None)
    console.print(
        f"{len(workload.prompts):,} requests, {options.rps:g} a second; the target alone takes {alone.mean_s:.2f} s "
        f"(p50 {alone.p50_s:.2f}, p95 {alone.p95_s:.2f}). Everything below is a share of that."
    )
    for rate in options.rates:
        table = Table(title=f"{rate:.0%} deferred", title_justify="left")
        table.add_column("cascade", no_wrap=True)
        for name in ("deferred", "mean", "p50", "p95", "its p95", "FLOPs", "members", "waste", "tokens"):
            table.add_column(name, justify="right")
        scenarios = list(bench.scenarios(rate))
        asking_all = next(bench.measure(tiers, None) for name, tiers, _ in scenarios if name == ALL_THREE)
        for name, tiers, remedy in track(
            scenarios, description=f"{rate:.0%}", transient=True, console=Console(stderr=True)
        ):
            result = asking_all if name == ALL_THREE else bench.measure(tiers, POLICIES.get(remedy))
            table.add_row(name, *result.cells(alone, asking_all))
        console.print(table)
    console.print(
        "its p95: of the deferred requests, to that of the same requests at the target alone. members: their FLOPs, to "
        "asking all three. waste: FLOPs of calls made ahead and not needed, to those of the target alone. tokens: "
        "completion tokens of stopped calls of the target, to those that it writes alone."
    )


@dataclass(frozen=True)
class Result:
    """One measurement: what each request got and when, and FLOPs of all.

    Wasted are calls made ahead that were not needed: their FLOPs, and the completion tokens of the target's.
    """

    seconds: list[float]
    deferred: list[bool]
    texts: list[str]
    flops: float
    members_flops: float
    wasted_flops: float
    wasted_tokens: int
    target_tokens: int

    @property
    def mean_s(self) -> float:
        return fmean(self.seconds)

    @property
    def p50_s(self) -> float:
        return float(np.quantile(self.seconds, 0.5))

    @property
    def p95_s(self) -> float:
        return float(np.quantile(self.seconds, 0.95))

    def cells(self, alone: "Result", asking_all: "Result") -> list[str]:
        """Return the cells of the table, as shares of the target alone."""
        deferred = np.array(self.deferred)
        late_s, alone_s = (
            float(np.quantile(np.array(result.seconds)[deferred], 0.95)) if deferred.any() else 0.0
            for result in (self, alone)
        )
        return [
            f"{fmean(self.deferred):.0%}",
            f"{self.mean_s / alone.mean_s:.2f}",
            f"{self.p50_s / alone.p50_s:.2f}",
            f"{self.p95_s / alone.p95_s:.2f}",
            f"{late_s / alone_s:.2f}" if alone_s else "-",
            f"{self.flops / alone.flops:.2f}",
            f"{self.members_flops / asking_all.members_flops:.2f}",
            f"{self.wasted_flops / alone.flops:.1%}",
            f"{self.wasted_tokens / self.target_tokens:.1%}",
        ]


ALL_THREE = "three members"


class Bench:
    """The fleet, the workload and its comparisons."""

    def __init__(self, workload: Workload, rps: float, hop_s: float, seed: int) -> None:
        self._workload = workload
        self._rps, self._hop_s, self._seed = rps, hop_s, seed
        fleet = load(FLEET).application.args.models
        self._models = {name: model for name, model in fleet.items() if isinstance(model, ReplayModel)}
        self._scorer = KnownScorer(workload)
        self.costs = {name: self._cost(name) for name in SPEEDS}

    def _cost(self, name: str) -> ModelCost:
        return replace(self._models[SPEEDS[name]].cost(), usd_per_device_hour=GPU_USD_HOUR)

    def scenarios(self, rate: float) -> Iterator[tuple[str, tuple[Tier, ...], Remedy]]:
        """Yield the cascades that defer this share of the requests: plain, each remedy alone, then all together."""
        target = Tier((TARGET,))
        two, three = self._tier((A, B)), self._tier(MEMBERS)
        pair, trio = (self._at(rate, [two]), target), (self._at(rate, [three]), target)
        joint_threshold = self._at_both(rate, two, three)
        ladder = (replace(two, threshold=joint_threshold), replace(three, threshold=joint_threshold), target)
        yield "two members", pair, ""
        yield "  speculate: always", pair, "always"
        yield "  speculate: percentile 90", pair, "percentile 90"
        yield "  speculate: adaptive", pair, "adaptive"
        yield ALL_THREE, trio, ""
        yield "  early: selection", (replace(trio[0], early="selection"), target), ""
        yield "  early: decision", (replace(trio[0], early="decision"), target), ""
        yield "  quorum: 2", (replace(trio[0], quorum=2), target), ""
        yield "carried: two, then three", ladder, ""
        together = tuple(replace(tier, early="selection") for tier in ladder)
        yield "  early and adaptive, too", together, "adaptive"
        if (sure := self._sure(rate, two)) is not None:
            yield "carried: one, then two", (*sure, target), ""
            yield "  and adaptive", (*sure, target), "adaptive"

    def _tier(self, models: tuple[str, ...]) -> Tier:
        return Tier(models, SCORER_SIGNAL, signal_range=RougeConfig.limits, early="off")

    def _sure(self, rate: float, two: Tier) -> tuple[Tier, Tier] | None:
        """Return a tier of the first member that accepts half of what is not deferred, then both members.

        None without log-probabilities.
        """
        if any(answer.logprobs is None for answer in self._workload.answers[A]):
            return None
        first = replace(
            self._tier((A,)), signal="chow_avg", min_answers=1, agreement="mean", confidence=confidence(CHOW)
        )
        sureness = np.array(
            [fmean(value for _, value in answer.logprobs or ()) for answer in self._workload.answers[A]]
        )
        first = replace(first, threshold=_threshold(sureness, 1 - (1 - rate) / 2))
        agreements = self._scorer.agreements(two)
        remaining = np.where(sureness >= first.threshold, np.inf, agreements)
        return first, replace(two, threshold=_threshold(remaining, rate))

    def _at(self, rate: float, tiers: list[Tier]) -> Tier:
        return replace(tiers[0], threshold=_threshold(self._scorer.agreements(tiers[0]), rate))

    def _at_both(self, rate: float, first: Tier, second: Tier) -> float:
        """Return the threshold of two tiers under which this share gets past both."""
        best = np.maximum(self._scorer.agreements(first), self._scorer.agreements(second))
        return _threshold(best, rate)

    def measure(self, tiers: tuple[Tier, ...], policy: SpeculationPolicy | None) -> Result:
        """Run all requests through the tiers, in virtual time."""
        return virtual_time.run(self._measured(tiers, policy))

    async def _measured(self, tiers: tuple[Tier, ...], policy: SpeculationPolicy | None) -> Result:
        # Not the workload's seed, with whose draws the times of arrival would go together.
        rng, fleet, tasks = random.Random(self._seed + 1), self.fleet(tiers, policy), []
        for text in self._workload.prompts:
            await asyncio.sleep(rng.expovariate(self._rps))
            tasks.append(asyncio.create_task(fleet.request(text)))
        return self._result([await task for task in tasks])

    def fleet(self, tiers: tuple[Tier, ...], policy: SpeculationPolicy | None) -> Fleet:
        """Return idle models, and a cascade over them that has seen no request."""
        models = {name: self._model(name) for name in SPEEDS}
        slots = {name: self._models[SPEEDS[name]].slots for name in SPEEDS}
        return Fleet(models, slots, self.costs, self._scorer, tiers, policy)

    def _model(self, name: str) -> Clockwork:
        facts = self._models[SPEEDS[name]]
        config = ReplayConfig(engine="replay", slots=facts.slots, batching=facts.batching)
        pairs = zip(self._workload.prompts, self._workload.answers[name], strict=True)
        return Clockwork(ReplayEngine(config, {None: dict(pairs)}), self._hop_s)

    def _result(self, ended: list[tuple[Run, Outcome]]) -> Result:
        flops = members = wasted_flops = 0.0
        wasted_tokens = 0
        for run, outcome in ended:
            charges = charge(run, outcome, self.costs)
            flops += charges.request.flops or 0.0
            if (wasted := charges.request.wasted) is not None:
                wasted_flops += wasted.flops or 0.0
            members += sum(
                cost.flops or 0.0 for call, cost in zip(run.calls, charges.calls, strict=True) if call.model != TARGET
            )
            wasted_tokens += sum(
                call.answer.completion_tokens for call in run.calls if call.wasted and call.model == TARGET
            )
        return Result(
            [outcome.total_s for _, outcome in ended],
            [outcome.answered_by == TARGET for _, outcome in ended],
            [outcome.answer.text if isinstance(outcome.answer, Generation) else "" for _, outcome in ended],
            flops,
            members or 1.0,
            wasted_flops,
            wasted_tokens,
            sum(tokens_of(answer) for answer in self._workload.answers[TARGET]),
        )


def _threshold(agreements: np.ndarray, rate: float) -> float:
    """Return the threshold below which this share of the agreements is."""
    ordered = np.sort(agreements)
    return float(ordered[min(len(ordered) - 1, round(rate * len(ordered)))])


if __name__ == "__main__":
    main()
