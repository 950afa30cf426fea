"""What a cascade asks of each deployment at a rate of requests, and for how long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from serve_app.config import AppConfig, CascadeConfig, ReplayModel, TierConfig
from serve_app.config.deployment import DeploymentOptions
from serve_app.errors import ConfigError
from serve_app.planning.ahead import Ahead, TierTimes, ahead
from serve_app.planning.simulation import CpuCosts, ModelFleet, TierCalls
from serve_app.planning.stations import Station, wait_s

SCORER, PROXY = "Scorer", "HTTP proxy"


EXAMPLE = "{step_s: 0.012, sequence_s: 0.00015, prompt_token_s: 0.00013, slots: 64}"
"""A speed as `cascade plan --speed` takes it."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """The assumptions of a plan; `deferral_rates` has one for each tier but the last."""

    cascade: str
    rps: float
    deferral_rates: tuple[float, ...]
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Demand:
    """A cascade under an assumed load; `options` are those in force, `speeds` take precedence over the config's.

    What is asked ahead in vain depends on the seconds of each tier, and these on the models' load, so the estimates of
    it (`aheads`) are made with the load without it.
    """

    args: AppConfig
    options: Mapping[str, DeploymentOptions]
    assumed: Assumed
    speeds: Mapping[str, ModelFleet]
    costs: CpuCosts

    @cached_property
    def tiers(self) -> tuple[TierCalls, ...]:
        """Return what each tier asks."""
        return _tier_calls(self.args, self.args.cascades[self.assumed.cascade])

    @cached_property
    def models(self) -> dict[str, ModelFleet]:
        """Return the models that are asked. Raises ConfigError if the speed of one is unknown."""
        names = dict.fromkeys(name for tier in self.tiers for name in tier.models)
        if unknown := [name for name in names if not _is_known(self.args, name, self.speeds)]:
            example = " ".join(f"--speed '{name}={EXAMPLE}'" for name in unknown)
            are, speeds = ("is", "its speed") if len(unknown) == 1 else ("are", "their speeds")
            silent = " and ".join(map(repr, unknown))
            raise ConfigError(
                f"--speed: the config does not say how fast {silent} {are}. Give {speeds}, such as {example}."
            )
        return {name: _model(self.args, name, self.options[name], self.speeds) for name in names}

    @cached_property
    def reach(self) -> list[float]:
        """Return the share of the requests that gets to each tier."""
        return [prod(self.assumed.deferral_rates[:number]) for number in range(len(self.tiers))]

    def visits(self) -> dict[str, float]:
        """Return how often a request asks each model, without what is asked ahead in vain."""
        return {
            name: sum(self.reach[n] * tier.models.count(name) for n, tier in enumerate(self.tiers))
            for name in self.models
        }

    def wasted_visits(self, aheads: Sequence[Ahead]) -> dict[str, float]:
        """Return how often a request asks each model ahead in vain, in the work of whole calls."""
        return {
            name: sum(
                self.reach[n] * estimate.wasted_visits * tier.models.count(name)
                for n, (estimate, tier) in enumerate(zip(aheads, self.tiers[1:], strict=True))
            )
            for name in self.models
        }

    def model_stations(self, visits: Mapping[str, float]) -> list[Station]:
        """Return the models' deployments, with so many visits of each a request."""
        return [
            Station(
                name=name,
                kind="model",
                visits=visits[name],
                carries_rps=model.speed.peak_rps(model.slots, *self._tokens),
                configured=self.options[name].most_replicas,
                rps=self.assumed.rps,
                seconds=0.0,
                devices=self.args.models[name].devices,
            )
            for name, model in self.models.items()
        ]

    def scorer(self) -> Station:
        """Return the scorer, which compares for the tiers whose signals it computes."""
        visits = sum(self.reach[number] for number, tier in enumerate(self.tiers) if tier.scored)
        return self._process(SCORER, "scorer", visits, self.costs.scorer_s)

    def router(self, latencies_s: Sequence[float], aheads: Sequence[Ahead]) -> Station:
        """Return the router, which holds each request until its end."""
        shares = [reached - passed_on for reached, passed_on in zip(self.reach, [*self.reach[1:], 0.0], strict=True)]
        mean_s = sum(share * latency_s for share, latency_s in zip(shares, latencies_s, strict=True))
        work_s = sum(share * self.costs.router(self.tiers[: n + 1]) for n, share in enumerate(shares))
        work_s += self.costs.router_call_s * sum(
            self.reach[n] * estimate.wasted_calls * len(self.tiers[n + 1].models) for n, estimate in enumerate(aheads)
        )
        return self._process("Router", "router", 1.0, work_s, mean_s)

    def proxy(self) -> Station:
        """Return Serve's HTTP proxy."""
        return Station(PROXY, "proxy", 1.0, 1 / self.costs.proxy_s, 1, self.assumed.rps, 0.0)

    def tier_seconds(self, stations: Sequence[Station], scorer: Station) -> list[float]:
        """Return the mean seconds of each tier: its slowest model, and scoring."""
        loads = {station.name: station.rps * station.visits / station.replicas for station in stations}
        slowest = [
            max((self.models[name].speed.latency_s(loads[name], *self._tokens) for name in tier.models), default=0.0)
            for tier in self.tiers
        ]
        scoring_s = self.costs.scorer_s + wait_s(scorer)
        return [
            model_s + (scoring_s if tier.scored else 0.0) for tier, model_s in zip(self.tiers, slowest, strict=True)
        ]

    def aheads(self, seconds: Sequence[float]) -> list[Ahead]:
        """Return the estimate of asking ahead for each tier but the first."""
        assumed = self.assumed
        speculate = self.args.cascades[assumed.cascade].speculate
        results = []
        for number, rate in enumerate(assumed.deferral_rates):
            tier_s, next_s, following = seconds[number], seconds[number + 1], self.tiers[number + 1].models
            completion_tokens = round(assumed.completion_tokens * min(1.0, tier_s / next_s)) if following else 0
            costs = [self.args.models[name].cost() for name in following]
            call_costs = [cost.usd(assumed.prompt_tokens, completion_tokens, tier_s * cost.devices) for cost in costs]
            usd = None if None in call_costs else sum(call_usd or 0.0 for call_usd in call_costs)
            results.append(ahead(speculate if following else None, TierTimes(tier_s, next_s, rate, usd)))
        return results

    def latencies_s(self, seconds: Sequence[float], aheads: Sequence[Ahead]) -> list[float]:
        """Return the mean seconds of requests that end with each tier: the tiers' own, and the router's work.

        What was asked ahead has begun before its tier is reached.
        """
        saved = [0.0, *(estimate.saved_s for estimate in aheads)]
        ends, models_s = [], 0.0
        for number, (tier_s, saved_s) in enumerate(zip(seconds, saved, strict=True)):
            models_s += tier_s - saved_s
            ends.append(models_s + self.costs.proxy_s + self.costs.router(self.tiers[: number + 1]))
        return ends

    @property
    def _tokens(self) -> tuple[int, int]:
        return self.assumed.prompt_tokens, self.assumed.completion_tokens

    def _process(self, name: str, kind: str, visits: float, work_s: float, seconds: float = 0.0) -> Station:
        options, rps = self.options[name], self.assumed.rps
        return Station(
            name, kind, visits, 1 / work_s, options.most_replicas, rps, seconds, options.max_ongoing_requests
        )


def _tier_calls(args: AppConfig, cascade: CascadeConfig) -> tuple[TierCalls, ...]:
    """Return what each tier asks. Adapters are work for their base, which so may be asked more than once by a tier."""
    return tuple(
        _calls(args, tuple(map(args.served_by, new)), tier)
        for new, tier in zip(cascade.newly_asked(), cascade.tiers, strict=True)
    )


def _calls(args: AppConfig, models: tuple[str, ...], tier: TierConfig) -> TierCalls:
    scorers = set() if tier.signal is None or len(tier.models) == 1 else args.scorers(tier.signal)
    return TierCalls(models, SCORER in scorers, isolated=len(scorers - {SCORER}))


def _is_known(args: AppConfig, name: str, speeds: Mapping[str, ModelFleet]) -> bool:
    model = args.models[name]
    return name in speeds or (isinstance(model, ReplayModel) and model.batching is not None)


def _model(args: AppConfig, name: str, options: DeploymentOptions, speeds: Mapping[str, ModelFleet]) -> ModelFleet:
    model = args.models[name]
    if name in speeds:
        speed, slots = speeds[name].speed, speeds[name].slots
    else:
        assert isinstance(model, ReplayModel)
        assert model.batching is not None
        speed, slots = model.batching, model.slots
    return ModelFleet(speed, min(slots, options.max_ongoing_requests))
