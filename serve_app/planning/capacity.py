"""The number of routers, scorers, members and targets that a rate of requests needs, and what breaks first.

By formulas, so for any rate: a station that carries c requests a second a replica gets `rps x visits / (c x BUSY)`
replicas. What a model's replica carries follows from the time of its steps (`BatchSpeed.peak_rps`), what a process
carries from its CPU time a request, since Python runs on one core. `simulation` checks latencies at small
rates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite, prod

from serve_app.config import AppConfig, CascadeConfig, ReplayModel
from serve_app.config.deployment import DeploymentOptions
from serve_app.errors import ConfigError, choices
from serve_app.planning.ahead import Ahead, TierTimes, ahead
from serve_app.planning.simulation import CpuCosts, Fleet, ModelFleet, TierCalls

BUSY = 0.7
"""Planned load of a replica as a share of the most that it carries; the remainder is for bursts."""
MEASURED = CpuCosts(proxy_s=0.00429, router_s=0.00322, router_call_s=0.00206, scorer_s=0.00201)
"""CPU seconds of one request, rougeL of 128 words. `make bench-scaling` prints this line; it was measured on 2 cores of
an AMD EPYC that the client shares, with Ray 2.60.0, the scorer asked for every decision."""
SCORER, PROXY = "Scorer", "HTTP proxy"
MOST_REPLICAS = 1e12
"""Limit of replicas of one deployment: more is a typing error, and a float soon cannot count them."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """The assumptions of a plan; `deferral_rates` has one for each tier but the last."""

    cascade: str
    rps: float
    deferral_rates: tuple[float, ...]
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Station:
    """One deployment, or Serve's proxies, under the load.

    `visits` a request; `carries_rps` is the most that one replica does, in its own visits; `configured` replicas at the
    most; `max_requests` is how many requests one replica may hold, `seconds` for how long it holds one.
    """

    name: str
    kind: str
    visits: float
    carries_rps: float
    configured: int
    rps: float
    seconds: float
    max_requests: float = inf
    devices: float = 0.0

    @property
    def replicas(self) -> int:
        """Return the number that the load needs, by work and by requests held."""
        load = self.rps * self.visits
        return max(1, _ceil(load / (self.carries_rps * BUSY)), _ceil(load * self.seconds / self.max_requests))

    @property
    def busy(self) -> float:
        """Return the share of the most they carry, with the replicas that the load needs."""
        return self.rps * self.visits / (self.carries_rps * self.replicas)

    @property
    def breaks_rps(self) -> float:
        """Return the requests a second, at the entrance, above which the configured replicas fall behind."""
        return self.configured * self.carries_rps / self.visits if self.visits else inf


@dataclass(frozen=True, slots=True)
class Capacity:
    """The plan for a rate: stations in the order of the graph, and mean latencies by how many tiers were asked.

    `wasted_visits`: by model, the part of its visits that is asked ahead in vain, in the work of whole calls. How long
    the `encoders`, signals of the Scorer, and the `isolated` ones, in deployments of their own, take was not measured.
    """

    assumed: Assumed
    stations: tuple[Station, ...]
    latencies_s: tuple[float, ...]
    fleet: Fleet
    wasted_visits: Mapping[str, float]
    encoders: tuple[str, ...] = ()
    isolated: tuple[str, ...] = ()

    def by_breaking(self) -> list[Station]:
        """Return the stations as configured, the one that breaks first in front."""
        return sorted(self.stations, key=lambda station: station.breaks_rps)

    @property
    def handles(self) -> int:
        """Return the number of connections between routers and replicas: every router keeps one to each."""
        routers = sum(station.replicas for station in self.stations if station.kind == "router")
        return routers * sum(s.replicas for s in self.stations if s.kind not in ("router", "proxy"))


def assume(
    args: AppConfig,
    cascade: str,
    rps: float,
    deferral_rate: float | None = None,
    prompt_tokens: int = 256,
    completion_tokens: int = 128,
    calibrated_rate: float | None = None,
) -> Assumed:
    """Return the assumptions. Raises ConfigError.

    Without a deferral rate, that of the only tier's calibration, or of each tier's synthetic answers.
    """
    if not (isfinite(rps) and rps > 0):
        raise ConfigError(f"--rps: must be a finite number of requests above 0, got {rps:g}.")
    if cascade not in args.cascades:
        raise ConfigError(f"--cascade: there is no cascade {cascade!r}. {choices(cascade, args.cascades)}")
    tiers = args.cascades[cascade].tiers
    if deferral_rate is None and len(tiers) == 2:
        deferral_rate = calibrated_rate
    rates = []
    for tier in tiers[:-1]:
        rate = _synthetic_rate(args, tier.models) if deferral_rate is None else deferral_rate
        if rate is None:
            raise ConfigError(
                "--deferral-rate: the config does not say how much is deferred. Give a share, such as 0.4."
            )
        rates.append(rate)
    return Assumed(cascade, rps, tuple(rates), prompt_tokens, completion_tokens)


def _synthetic_rate(args: AppConfig, models: Sequence[str]) -> float | None:
    model = args.model(models[0])
    synthetic = model.synthetic if isinstance(model, ReplayModel) else None
    return None if synthetic is None else round(1 - synthetic.agreement, 12)


def capacity(
    args: AppConfig,
    options: Mapping[str, DeploymentOptions],
    assumed: Assumed,
    speeds: Mapping[str, ModelFleet] | None = None,
    costs: CpuCosts = MEASURED,
) -> Capacity:
    """Return the plan. `options` are those in force; `speeds` take precedence over those of the config.

    Raises ConfigError if a model's speed is unknown.
    """
    tiers = _tier_calls(args, args.cascades[assumed.cascade])
    reach = [prod(assumed.deferral_rates[:number]) for number in range(len(tiers))]
    models = {name: _model(args, name, options[name], speeds or {}) for tier in tiers for name in tier.models}
    tokens = assumed.prompt_tokens, assumed.completion_tokens
    scored_visits = sum(reach[number] for number, tier in enumerate(tiers) if tier.scored)
    scorer = _process(SCORER, "scorer", scored_visits, costs.scorer_s, options[SCORER], assumed.rps)

    def stations_of(visits: Mapping[str, float]) -> list[Station]:
        return [
            Station(
                name=name,
                kind="model",
                visits=visits[name],
                carries_rps=models[name].speed.peak_rps(models[name].slots, *tokens),
                configured=options[name].most_replicas,
                rps=assumed.rps,
                seconds=0.0,
                devices=args.models[name].devices,
            )
            for name in models
        ]

    needed_visits = {name: sum(reach[n] * tier.models.count(name) for n, tier in enumerate(tiers)) for name in models}
    seconds = _tier_seconds(tiers, stations_of(needed_visits), scorer, models, tokens, costs)
    aheads = _aheads(args, assumed, tiers, seconds)
    wasted = {
        name: sum(
            reach[n] * estimate.wasted_visits * tier.models.count(name)
            for n, (estimate, tier) in enumerate(zip(aheads, tiers[1:], strict=True))
        )
        for name in models
    }
    stations = stations_of({name: visits + wasted[name] for name, visits in needed_visits.items()})
    seconds = _tier_seconds(tiers, stations, scorer, models, tokens, costs)
    stations.append(scorer)
    times = _latencies(tiers, seconds, aheads, costs)
    share = [reached - passed_on for reached, passed_on in zip(reach, [*reach[1:], 0.0], strict=True)]
    mean_s = sum(part * time_s for part, time_s in zip(share, times, strict=True))
    work_s = sum(part * costs.router(tiers[: n + 1]) for n, part in enumerate(share))
    work_s += costs.router_call_s * sum(
        reach[n] * estimate.wasted_calls * len(tiers[n + 1].models) for n, estimate in enumerate(aheads)
    )
    stations.append(_process("Router", "router", 1.0, work_s, options["Router"], assumed.rps, mean_s))
    stations.append(Station(PROXY, "proxy", 1.0, 1 / costs.proxy_s, 1, assumed.rps, 0.0))
    replicas = {station.name: station.replicas for station in stations}
    fleet = Fleet(
        models={name: ModelFleet(model.speed, model.slots, replicas[name]) for name, model in models.items()},
        tiers=tiers,
        deferral_rates=assumed.deferral_rates,
        costs=costs,
        routers=replicas["Router"],
        scorers=replicas[SCORER],
        proxies=replicas[PROXY],
    )
    ends = [time_s + wait_s(stations[-2]) + wait_s(stations[-1]) for time_s in times]
    encoders, isolated = _unmeasured_signals(args, args.cascades[assumed.cascade])
    return Capacity(assumed, tuple(stations), tuple(ends), fleet, wasted, encoders, isolated)


def _tier_calls(args: AppConfig, cascade: CascadeConfig) -> tuple[TierCalls, ...]:
    """Return what each tier asks. Adapters are work for their base, which so may be asked more than once by a tier."""
    return tuple(
        TierCalls(tuple(map(args.served_by, new)), scored=len(tier.models) > 1 and _asks_scorer(args, tier.signal))
        for new, tier in zip(cascade.newly_asked(), cascade.tiers, strict=True)
    )


def _asks_scorer(args: AppConfig, signal: str | None) -> bool:
    return signal is not None and SCORER in args.scorers(signal)


def _unmeasured_signals(args: AppConfig, cascade: CascadeConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the signals with models that the cascade compares by: those of the Scorer, and the isolated ones."""
    signals = args.all_signals()
    compared_by = [tier.signal for tier in cascade.tiers if tier.signal is not None and len(tier.models) > 1]
    names = sorted({name for signal in compared_by for name in signals.computed_for(signal)})
    heavy = [name for name in names if signals[name].needs_weights]
    isolated = tuple(name for name in heavy if signals[name].isolated)
    return tuple(name for name in heavy if name not in isolated), isolated


def wait_s(station: Station) -> float:
    """Return the mean time in the queue of one process with random arrivals and constant service (M/D/1)."""
    return station.busy / (2 * station.carries_rps * (1 - station.busy)) if station.busy < 1 else inf


def _tier_seconds(
    tiers: Sequence[TierCalls],
    stations: Sequence[Station],
    scorer: Station,
    models: Mapping[str, ModelFleet],
    tokens: tuple[int, int],
    costs: CpuCosts,
) -> list[float]:
    """Return the mean seconds of each tier: its slowest model, and scoring."""
    loads = {station.name: station.rps * station.visits / station.replicas for station in stations}
    slowest = [
        max((models[name].speed.latency_s(loads[name], *tokens) for name in tier.models), default=0.0) for tier in tiers
    ]
    scoring_s = costs.scorer_s + wait_s(scorer)
    return [model_s + (scoring_s if tier.scored else 0.0) for tier, model_s in zip(tiers, slowest, strict=True)]


def _aheads(args: AppConfig, assumed: Assumed, tiers: Sequence[TierCalls], seconds: Sequence[float]) -> list[Ahead]:
    """Return the estimate of asking ahead for each tier but the first."""
    speculate = args.cascades[assumed.cascade].speculate
    results = []
    for number, rate in enumerate(assumed.deferral_rates):
        tier_s, next_s, following = seconds[number], seconds[number + 1], tiers[number + 1].models
        completion_tokens = round(assumed.completion_tokens * min(1.0, tier_s / next_s)) if following else 0
        costs = [args.models[name].cost() for name in following]
        call_costs = [cost.usd(assumed.prompt_tokens, completion_tokens, tier_s * cost.devices) for cost in costs]
        usd = None if None in call_costs else sum(call_usd or 0.0 for call_usd in call_costs)
        results.append(ahead(speculate if following else None, TierTimes(tier_s, next_s, rate, usd)))
    return results


def _latencies(
    tiers: Sequence[TierCalls], seconds: Sequence[float], aheads: Sequence[Ahead], costs: CpuCosts
) -> list[float]:
    """Return the mean seconds of requests that end with each tier: the tiers' own, and the router's work.

    What was asked ahead has begun before its tier is reached.
    """
    saved = [0.0, *(estimate.saved_s for estimate in aheads)]
    ends, models_s = [], 0.0
    for number, (tier_s, saved_s) in enumerate(zip(seconds, saved, strict=True)):
        models_s += tier_s - saved_s
        ends.append(models_s + costs.proxy_s + costs.router(tiers[: number + 1]))
    return ends


def _process(
    name: str, kind: str, visits: float, work_s: float, options: DeploymentOptions, rps: float, seconds: float = 0.0
) -> Station:
    return Station(name, kind, visits, 1 / work_s, options.most_replicas, rps, seconds, options.max_ongoing_requests)


def _model(args: AppConfig, name: str, options: DeploymentOptions, speeds: Mapping[str, ModelFleet]) -> ModelFleet:
    model = args.models[name]
    if name in speeds:
        speed, slots = speeds[name].speed, speeds[name].slots
    elif isinstance(model, ReplayModel) and model.batching is not None:
        speed, slots = model.batching, model.slots
    else:
        example = f"'{name}={{step_s: 0.012, sequence_s: 0.00015, prompt_token_s: 0.00013, slots: 64}}'"
        raise ConfigError(f"--speed: the config does not say how fast {name!r} is. Give its speed, such as {example}.")
    return ModelFleet(speed, min(slots, options.max_ongoing_requests))


def _ceil(number: float) -> int:
    """Round up, but not for a rounding error of floats."""
    if number > MOST_REPLICAS:
        raise ConfigError(f"--rps: that load takes more than {MOST_REPLICAS:g} replicas of a deployment.")
    return ceil(round(number, 9))
