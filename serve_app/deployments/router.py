"""Router: HTTP -> cascade over model and scorer handles -> HTTP. It holds the thresholds in force."""

import json
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from serve_app.api.intake.ask import Ask
from serve_app.api.intake.limits import Limits
from serve_app.api.routes import build_api
from serve_app.api.service import ModelCard, Readiness
from serve_app.config import AppConfig
from serve_app.core.charges import charge
from serve_app.core.cost import Speed
from serve_app.core.deciding.carried import newly_asked
from serve_app.core.protocols import Scorer
from serve_app.core.record import DecisionRecord, decision_record
from serve_app.core.record_json import JsonObject, to_json
from serve_app.core.running.cascade import Event
from serve_app.core.running.run import Run
from serve_app.core.sampling import base_name
from serve_app.core.types.answer import Generation
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.scores import Embedding
from serve_app.deployments.access.access import Access
from serve_app.deployments.access.middleware import AccessMiddleware
from serve_app.deployments.access.shared_counts import shared_counts
from serve_app.deployments.autoscaling import EXPECTED
from serve_app.deployments.caching.answer_cache import AnswerCache
from serve_app.deployments.cors import open_to
from serve_app.deployments.demand import Demand
from serve_app.deployments.handles import ScorerHandle
from serve_app.deployments.inline_scorer import InlineScorer, LexicalScorer
from serve_app.deployments.observing.logs import drop_unwritable_lines
from serve_app.deployments.observing.measures import request_measures
from serve_app.deployments.observing.metrics import (
    CACHE,
    CALIBRATED_RATE,
    LEFT_OUT,
    REFUSED,
    REJECTED,
    ROUTER,
    SHEDDING,
    THRESHOLD,
    Instruments,
)
from serve_app.deployments.opening.asked_models import asked_models
from serve_app.deployments.opening.run_builder import RunBuilder
from serve_app.deployments.policies import Policies
from serve_app.deployments.protecting.gate import Gate, GateMiddleware
from serve_app.deployments.protecting.host_check import HostCheckMiddleware
from serve_app.deployments.protecting.liveness import Health, Liveness, look_up
from serve_app.deployments.protecting.protection import Protection
from serve_app.deployments.protecting.readiness import ReadinessProbe
from serve_app.deployments.protecting.shedding import Shedding
from serve_app.deployments.remembering.shared import stores
from serve_app.deployments.remembering.stickiness import Stickiness
from serve_app.deployments.showing.cards import cards
from serve_app.deployments.showing.check import ConfigChecker
from serve_app.deployments.showing.config import ConfigGraph
from serve_app.deployments.showing.evaluation import RecordsEvaluator
from serve_app.deployments.showing.live import Live
from serve_app.deployments.showing.playground import ConfiguredPlayground
from serve_app.deployments.speculation import Speculations
from serve_app.errors import ConfigError
from serve_app.page.config import install_config
from serve_app.page.evaluation import install_evaluation
from serve_app.page.live import install_live
from serve_app.page.playground import install_playground
from serve_app.page.site import install_page
from serve_app.signals import CompositeScorer
from serve_app.skipping.prechecker import Prechecks

if TYPE_CHECKING:
    from serve_app.deployments.observing.tracing import Tracing

logger = logging.getLogger("ray.serve")


class Router:
    """The ingress: chooses the cascade by model id, runs it, and keeps the thresholds that `serve deploy` changes."""

    _tracing: "Tracing | None" = None

    def __init__(
        self,
        config: AppConfig,
        models: dict[str, DeploymentHandle[Any]],
        scorer: DeploymentHandle[Any],
        isolated: dict[str, DeploymentHandle[Any]],
        state: DeploymentHandle[Any] | None = None,
    ) -> None:
        drop_unwritable_lines()
        self._tracing = _tracing(config)
        self._instruments = Instruments(ROUTER)
        self._gate = Gate()
        self._access = Access(config.router.access, shared_counts(config, state))
        self.keepalive_s = config.router.keepalive_s
        self.stream_open_s = config.router.stream_open_s
        self.names = config.router.names
        self.limits = Limits(**config.router.limits())
        self._config = config
        liveness = Liveness(_look, config.router.unavailable_after_s)
        self._protection = Protection(config)
        self._protection.guard(asked_models(config, models, liveness))
        self.responses, sessions = stores(config, state, self._protection.breakers)
        self._stickiness = Stickiness(config, sessions)
        remote = ScorerHandle(scorer, isolated, config.scorer.timeout_s, liveness, self._protection.breakers)
        self._encoders, self._embedder = config.encoders(), remote
        self._cache = AnswerCache(config, self._begin)
        self._costs = {name: model.cost() for name, model in config.asked().items()}
        speeds = {name: Speed(getattr(model, "max_tokens", None)) for name, model in config.models.items()}
        speeds = {name: speeds[base_name(name)] for name in config.asked()}
        self._speculations = Speculations(config, self._costs, speeds, self._protection.idle)
        self._policies = Policies(config)
        lexical = LexicalScorer(config.standing_in(), config.scorer.inline_characters)
        self._playground = ConfiguredPlayground(
            config, self._policies, _scorer(config, remote.with_own_breakers()), lexical
        )
        self._builder = RunBuilder(
            config,
            self._policies,
            _scorer(config, remote),
            lexical,
            self._speculations,
            Prechecks(config, remote.embed_prompt, remote.embed),
            self._costs,
            speeds,
        )
        self._shedding = Shedding(config, self._policies, self._protection.loads)
        self._readiness = ReadinessProbe(config, self._policies, self._protection, _look)
        texts = config.router.page_texts
        self._live = Live(self._policies, self._protection, self._readiness, self._shedding, texts=texts)
        self._demand = Demand(
            {
                id_: [[*map(config.served_by, models)] for models in newly_asked([tier.models for tier in tiers])]
                for id_, tiers in self._policies.tiers.items()
            }
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the application that this replica serves; Ray Serve calls this."""
        app = build_api(self)
        app.add_middleware(AccessMiddleware, access=self._access, instruments=self._instruments)
        app.add_middleware(GateMiddleware, gate=self._gate)
        app.add_middleware(HostCheckMiddleware, allowed=self._config.router.allowed_hosts)
        if self._config.router.cors is not None:
            open_to(app, self._config.router.cors)
        if self._config.router.page is not False:
            install_playground(app, self._playground)
            install_live(app, self._live)
            install_evaluation(app, RecordsEvaluator())
            install_config(app, ConfigGraph(self._config, self._policies, self._readiness), ConfigChecker())
            install_page(app, everywhere=self._config.router.page or self._access.keys is not None)
        return app

    async def drain(self) -> int:
        """Refuse new requests from now on, and return how many are in progress."""
        self._gate.closed = True
        return self._gate.in_progress

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply new thresholds. Invalid ones are refused and reported, and the old ones stay in force.

        Never raises: Serve would kill and restart the replica over and over.
        """
        self._policies.change(user_config)

    async def check_health(self) -> None:
        """Set the gauges, which Ray forgets if they are not set again. Serve calls this every few seconds."""
        self._instruments.record(REFUSED, self._policies.refused is not None)
        for name, breaker in self._protection.breakers.items():
            self._instruments.record(LEFT_OUT, breaker.left_s is not None, name)
        for id_, row in self._policies.thresholds.items():
            for number, threshold in enumerate(row):
                self._instruments.record(THRESHOLD, threshold, id_, str(number))
        for id_, active, _ in self._shedding.states():
            self._instruments.record(SHEDDING, active, id_)
        for id_, rates in self._policies.expected.items():
            for bound, rate in zip(("expected", "low", "high"), rates or (), strict=False):
                self._instruments.record(CALIBRATED_RATE, rate, id_, bound)

    def cards(self) -> list[ModelCard]:
        return cards(self._config, self._policies, self._encoders)

    async def recall(self, ask: Ask) -> Ask:
        return await self._stickiness.recall(ask)

    def open(self, ask: Ask) -> Run:
        self._shedding.check(ask.model, ask.options)
        run = self._builder.build(ask)
        key = self._cache.key(ask, run, self._policies.calibration(ask.model, run))
        begins = key is None or not self._cache.has_answer(ask.model, key)
        if begins and self._shedding.shed(ask.model, run, ask.options) and key is not None:
            # Requests under pressure may share a run with each other, and with no others.
            key = self._cache.key(ask, run, None)
            begins = key is None or not self._cache.has_answer(ask.model, key)
        if begins and (full := self._protection.full(run.first, run.caller)) is not None:
            self._instruments.record(REJECTED, 1, full)
            raise self._protection.overloaded(full, run.caller)
        self._protection.enter(run)
        self._stickiness.enter(ask, run)
        if key is not None:
            self._cache.enter(ask.model, run, key)
        if begins:
            self._begin(ask.model, run)
        if self._tracing:
            self._tracing.follow(ask.model, run)
        return run

    def _begin(self, model: str, run: Run) -> None:
        """Let a run ask its first models."""
        self._demand.arrived(model)
        self._protection.begin(run)

    def events(self, run: Run) -> AsyncGenerator[Event, None]:
        return self._stickiness.events(run, self._cache.events(run))

    async def embed(self, model: str, texts: Sequence[str]) -> list[Embedding]:
        return await self._embedder.embed(model, texts)

    def close(self, ask: Ask, run: Run, outcome: Outcome | None) -> DecisionRecord:
        model, options = ask.model, ask.options
        shared = self._cache.leave(run, outcome)  # first, since others may wait for it
        self._protection.leave(run)
        self._shedding.observe()
        self._stickiness.leave(run)
        if self._policies.in_force_for(model, run) and (outcome is None or outcome.cached is None):
            self._speculations.ended(model, run)
        self._measure(model, run, outcome)
        if shared and self._cache.has(model):
            self._instruments.record(CACHE, 1, model, shared)
        charges = charge(run, outcome, self._costs)
        calibration = self._policies.calibration(model, run, outcome)
        record = decision_record(model, run, outcome, charges, answers=options.include_answers, calibration=calibration)
        self._live.ended(ask.prompt, outcome, record)
        self._instruments.record_all(request_measures(model, run, outcome, record, charges))
        if self._tracing:
            self._tracing.ended(run, outcome, record)
        if self._config.router.log_decisions:
            logger.info("decision %s", json.dumps(to_json(record.without_answers())))
        return record

    def _measure(self, model: str, run: Run, outcome: Outcome | None) -> None:
        for call in run.calls:
            if isinstance(call.answer, Generation):
                self._demand.answered(self._config.served_by(call.model), call.answer.latency_s)
        if outcome is not None and outcome.cached is None:
            self._demand.finished(model, len(run.tiers) if run.escalated else _tiers_begun(run))

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what `deferral_policy` needs to know; Ray Serve calls this if the router scales by load."""
        return {f"{EXPECTED}{model}": expected for model, expected in self._demand.expected().items()}

    def __del__(self) -> None:
        """Send the last spans; Serve calls this before it stops the replica."""
        if self._tracing:
            self._tracing.flush()

    async def readiness(self) -> Readiness:
        state = await self._readiness.now()
        own: JsonObject = {
            "draining": self._gate.closed,
            "refused_keys": self._access.refused,
            "shedding": [id_ for id_, active, _ in self._shedding.states() if active],
        }
        return Readiness(state.ready and not self._gate.closed, state.details | own)


def _scorer(config: AppConfig, remote: ScorerHandle) -> Scorer:
    """Return what compares answers: short ones here, others by the scorers, and combinations of both."""
    inline = InlineScorer(config.similarities(), remote, config.scorer.inline_characters)
    return CompositeScorer(inline, config.composites())


def _tiers_begun(run: Run) -> int:
    """Return how many tiers have called a model, ahead of their turn or in it."""
    called = {call.model for call in run.calls}
    new = newly_asked([tier.models for tier in run.tiers])
    return max((number for number, names in enumerate(new, 1) if called.intersection(names)), default=1)


def _tracing(config: AppConfig) -> "Tracing | None":
    """Return the tracing of this router, or None. OpenTelemetry is imported only if tracing is on."""
    if config.router.tracing is None:
        return None
    try:
        from serve_app.deployments.observing.tracing import Tracing
    except ImportError as error:
        raise ConfigError("router.tracing needs OpenTelemetry: pip install 'semantic-cascade[tracing]'.") from error
    engines = {name: config.models[config.served_by(name)].engine for name in config.asked()}
    return Tracing(config.router.tracing, engines)


def _look() -> dict[str, Health]:
    return look_up(serve.get_replica_context().app_name)
