"""The number of routers, scorers, members and targets that a rate of requests needs, and what breaks first.

By formulas, so for any rate: a station that carries c requests a second a replica gets `rps x visits / (c x BUSY)`
replicas. What a model's replica carries follows from the time of its steps (`BatchSpeed.peak_rps`), what a process
carries from its CPU time a request, since Python runs on one core. `simulation` checks latencies at small
rates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from serve_app.config import AppConfig, CascadeConfig, ReplayModel
from serve_app.config.deployment import DeploymentOptions
from serve_app.errors import ConfigError, choices
from serve_app.planning.demand import PROXY, SCORER, Assumed, Demand
from serve_app.planning.simulation import CpuCosts, Fleet, ModelFleet
from serve_app.planning.stations import Station, wait_s

MEASURED = CpuCosts(proxy_s=0.00429, router_s=0.00322, router_call_s=0.00206, scorer_s=0.00201)
"""CPU seconds of one request, rougeL of 128 words. `make bench-scaling` prints this line; it was measured on 2 cores of
an AMD EPYC that the client shares, with Ray 2.60.0, the scorer asked for every decision."""


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
    demand = Demand(args, options, assumed, speeds or {}, costs)
    visits, scorer = demand.visits(), demand.scorer()
    aheads = demand.aheads(demand.tier_seconds(demand.model_stations(visits), scorer))
    wasted = demand.wasted_visits(aheads)
    models = demand.model_stations({name: count + wasted[name] for name, count in visits.items()})
    latencies_s = demand.latencies_s(demand.tier_seconds(models, scorer), aheads)
    router, proxy = demand.router(latencies_s, aheads), demand.proxy()
    stations = (*models, scorer, router, proxy)
    encoders, isolated = _unmeasured_signals(args, args.cascades[assumed.cascade])
    return Capacity(
        assumed,
        stations,
        tuple(latency_s + wait_s(router) + wait_s(proxy) for latency_s in latencies_s),
        _fleet(demand, stations),
        wasted,
        encoders,
        isolated,
    )


def _fleet(demand: Demand, stations: Sequence[Station]) -> Fleet:
    """Return what the simulation runs: as many replicas of each as the load needs."""
    replicas = {station.name: station.replicas for station in stations}
    return Fleet(
        models={name: ModelFleet(model.speed, model.slots, replicas[name]) for name, model in demand.models.items()},
        tiers=demand.tiers,
        deferral_rates=demand.assumed.deferral_rates,
        costs=demand.costs,
        routers=replicas["Router"],
        scorers=replicas[SCORER],
        proxies=replicas[PROXY],
    )


def _unmeasured_signals(args: AppConfig, cascade: CascadeConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the signals with models that the cascade compares by: those of the Scorer, and the isolated ones."""
    signals = args.all_signals()
    compared_by = [tier.signal for tier in cascade.tiers if tier.signal is not None and len(tier.models) > 1]
    names = sorted({name for signal in compared_by for name in signals.computed_for(signal)})
    heavy = [name for name in names if signals[name].needs_weights]
    isolated = tuple(name for name in heavy if signals[name].isolated)
    return tuple(name for name in heavy if name not in isolated), isolated
