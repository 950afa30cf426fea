"""What a router is made of, and how its parts are wired."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from serve_app.api.responses.store import ResponseStore
from serve_app.config import AppConfig
from serve_app.core.cost import ModelCost, Speed
from serve_app.core.protocols import Scorer
from serve_app.core.sampling import base_name
from serve_app.deployments.access.access import Access
from serve_app.deployments.access.shared_counts import shared_counts
from serve_app.deployments.caching.answer_cache import AnswerCache
from serve_app.deployments.demand import Demand
from serve_app.deployments.handles import ScorerHandle
from serve_app.deployments.inline_scorer import InlineScorer, LexicalScorer
from serve_app.deployments.observing.metrics import ROUTER, Instruments
from serve_app.deployments.opening.asked_models import asked_models
from serve_app.deployments.opening.run_builder import RunBuilder
from serve_app.deployments.policies import Policies
from serve_app.deployments.protecting.gate import Gate
from serve_app.deployments.protecting.liveness import Health, Liveness, look_up
from serve_app.deployments.protecting.protection import Protection
from serve_app.deployments.protecting.readiness import ReadinessProbe
from serve_app.deployments.protecting.shedding import Shedding
from serve_app.deployments.remembering.shared import stores
from serve_app.deployments.remembering.stickiness import Stickiness
from serve_app.deployments.showing.exchange import FiguresExchange, figures_exchange
from serve_app.deployments.showing.live import Live
from serve_app.deployments.showing.live_view import LiveView
from serve_app.deployments.showing.playground import ConfiguredPlayground
from serve_app.deployments.speculation import Speculations
from serve_app.errors import ConfigError
from serve_app.signals import CompositeScorer
from serve_app.skipping.prechecker import Prechecks

if TYPE_CHECKING:
    from serve_app.deployments.observing.tracing import Tracing


@dataclass(slots=True)
class Parts:
    """The parts of one router; `costs` are by the names that tiers have for models.

    `responses` is None if none are kept, `tracing` if requests are not traced, `exchange` if the live view needs none.
    """

    config: AppConfig
    costs: Mapping[str, ModelCost]
    access: Access
    gate: Gate
    policies: Policies
    protection: Protection
    shedding: Shedding
    readiness: ReadinessProbe
    builder: RunBuilder
    cache: AnswerCache
    responses: ResponseStore | None
    stickiness: Stickiness
    speculations: Speculations
    demand: Demand
    embedder: ScorerHandle
    instruments: Instruments
    tracing: "Tracing | None"
    live: Live
    exchange: FiguresExchange | None
    live_view: LiveView
    playground: ConfiguredPlayground


def wired(
    config: AppConfig,
    models: Mapping[str, DeploymentHandle[Any]],
    scorer: DeploymentHandle[Any],
    isolated: Mapping[str, DeploymentHandle[Any]],
    state: DeploymentHandle[Any] | None,
) -> Parts:
    """Return the parts of a router over the handles of its deployments."""
    tracing = _tracing(config)
    policies, costs, speeds = Policies(config), _costs(config), _speeds(config)
    liveness = Liveness(_look, config.router.unavailable_after_s)
    protection = Protection(config, asked_models(config, models, liveness))
    shedding = Shedding(config, policies, protection.loads)
    readiness = ReadinessProbe(config, policies, protection, _look)
    responses, sessions = stores(config, state, protection.breakers)
    remote = ScorerHandle(scorer, isolated, config.scorer.timeout_s, liveness, protection.breakers)
    lexical = LexicalScorer(config.standing_in(), config.scorer.inline_characters)
    prechecks = Prechecks(config, remote.embed_prompt, remote.embed)
    speculations = Speculations(config, costs, speeds, protection.idle)
    live = Live(policies, protection, shedding, texts=config.router.page_texts)
    exchange = figures_exchange(config, state, live)
    return Parts(
        config=config,
        costs=costs,
        access=Access(config.router.access, shared_counts(config, state)),
        gate=Gate(),
        policies=policies,
        protection=protection,
        shedding=shedding,
        readiness=readiness,
        builder=RunBuilder(config, policies, _scorer(config, remote), lexical, speculations, prechecks, costs, speeds),
        cache=AnswerCache(config),
        responses=responses,
        stickiness=Stickiness(config, sessions),
        speculations=speculations,
        demand=Demand(policies.tiers, config.served_by),
        embedder=remote,
        instruments=Instruments(ROUTER),
        tracing=tracing,
        live=live,
        exchange=exchange,
        live_view=LiveView(live, exchange, policies, readiness, shedding),
        playground=ConfiguredPlayground(config, policies, _scorer(config, remote.with_own_breakers()), lexical),
    )


def _costs(config: AppConfig) -> dict[str, ModelCost]:
    return {name: model.cost() for name, model in config.models_and_samples().items()}


def _speeds(config: AppConfig) -> dict[str, Speed]:
    """Return the speed of every model that tiers name; samples of one model share theirs."""
    speeds = {name: Speed(getattr(model, "max_tokens", None)) for name, model in config.models.items()}
    return {name: speeds[base_name(name)] for name in config.models_and_samples()}


def _scorer(config: AppConfig, remote: ScorerHandle) -> Scorer:
    """Return what compares answers: short ones here, others by the scorers, and combinations of both."""
    inline = InlineScorer(config.similarities(), remote, config.scorer.inline_characters)
    return CompositeScorer(inline, config.composites())


def _tracing(config: AppConfig) -> "Tracing | None":
    """Return the tracing of this router, or None. OpenTelemetry is imported only if tracing is on."""
    if config.router.tracing is None:
        return None
    try:
        from serve_app.deployments.observing.tracing import Tracing
    except ImportError as error:
        raise ConfigError("router.tracing needs OpenTelemetry: pip install 'semantic-cascade[tracing]'.") from error
    engines = {name: config.models[config.served_by(name)].engine for name in config.models_and_samples()}
    return Tracing(config.router.tracing, engines)


def _look() -> dict[str, Health]:
    return look_up(serve.get_replica_context().app_name)
