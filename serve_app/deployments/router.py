"""Router: HTTP -> cascade over model and scorer handles -> HTTP. It holds the thresholds in force."""

import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle

from serve_app.api.intake.ask import Ask
from serve_app.api.intake.limits import Limits
from serve_app.api.service import ModelCard, Readiness
from serve_app.config import AppConfig
from serve_app.core.charges import charge
from serve_app.core.record import DecisionRecord, decision_record
from serve_app.core.record_json import JsonObject, to_json
from serve_app.core.running.run import Run
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.scores import Embedding
from serve_app.deployments.application import build_application
from serve_app.deployments.autoscaling import EXPECTED
from serve_app.deployments.caching.turn import Turn
from serve_app.deployments.observing.gauges import gauges
from serve_app.deployments.observing.logs import drop_unwritable_lines
from serve_app.deployments.observing.measures import request_measures
from serve_app.deployments.observing.metrics import CACHE, REJECTED
from serve_app.deployments.protecting.protection import Permits
from serve_app.deployments.request import RequestInProgress
from serve_app.deployments.showing.cards import cards
from serve_app.deployments.wiring import wired

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
        self.parts = wired(config, models, scorer, isolated, state)
        self._tracing = self.parts.tracing
        self.keepalive_s = config.router.keepalive_s
        self.stream_open_s = config.router.stream_open_s
        self.names = config.router.names
        self.limits = Limits(**config.router.limits())
        self.responses = self.parts.responses
        self._encoders = config.encoders()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the application that this replica serves; Ray Serve calls this."""
        return build_application(self, self.parts)

    def cards(self) -> list[ModelCard]:
        return cards(self.parts.config, self.parts.policies, self._encoders)

    async def recall(self, ask: Ask) -> Ask:
        return await self.parts.stickiness.recall(ask)

    def open(self, ask: Ask) -> RequestInProgress:
        """Admit a request: give it its tiers, its models with permits for the first, and its turn at the cache.

        Raises `OverloadedError` if one of its first models is full, and what `Service.open` raises.
        """
        parts = self.parts
        run, turn = self._prepared(ask)
        if _begins(turn):
            self._check_room(run)
        permits = parts.protection.enter(run)
        span = None if parts.tracing is None else parts.tracing.follow(ask.model, run)
        request = RequestInProgress(ask, run, permits, turn, parts.stickiness.enter(ask), span, self._close)
        begin = partial(self._begin, ask.model, permits)
        if turn is not None:
            turn.enter(begin)
        if _begins(turn):
            begin()
        return request

    def _prepared(self, ask: Ask) -> tuple[Run, Turn | None]:
        """Return the run of a request, decided as under pressure if there is any, and its turn at the cache."""
        policies, shedding, cache = self.parts.policies, self.parts.shedding, self.parts.cache
        shedding.check(ask.model, ask.options)
        run = self.parts.builder.build(ask)
        turn = cache.turn(ask, run, policies.calibration(ask.model, run))
        if _begins(turn) and shedding.shed(ask.model, run, ask.options) and turn is not None:
            # Requests under pressure may share a run with each other, and with no others.
            turn = cache.turn(ask, run, None)
        return run, turn

    def _check_room(self, run: Run) -> None:
        """Raise `OverloadedError` if a model of the run's first tier is full."""
        full = self.parts.protection.full(run.first, run.caller)
        if full is not None:
            self.parts.instruments.record(REJECTED, 1, full)
            raise self.parts.protection.overloaded(full, run.caller)

    def _begin(self, model: str, permits: Permits) -> None:
        """Let a request ask its first models."""
        self.parts.demand.arrived(model)
        permits.acquire()

    def _close(self, request: RequestInProgress, outcome: Outcome | None) -> DecisionRecord:
        """Give back what a request holds, learn from it, and return its record, which is counted and logged."""
        parts, model, run = self.parts, request.ask.model, request.run
        # First, since others may wait for it.
        cache_result = "uncacheable" if request.turn is None else request.turn.leave(outcome)
        request.permits.release()
        parts.shedding.observe()
        if parts.policies.in_force_for(model, run) and (outcome is None or outcome.cached is None):
            parts.speculations.ended(model, run)
        parts.demand.ended(model, run, outcome)
        if cache_result is not None and parts.cache.has(model):
            parts.instruments.record(CACHE, 1, model, cache_result)
        return self._recorded(request, outcome)

    def _recorded(self, request: RequestInProgress, outcome: Outcome | None) -> DecisionRecord:
        """Return the decision record of a request that has ended, once it has been counted and logged."""
        parts, model, run, options = self.parts, request.ask.model, request.run, request.ask.options
        charges = charge(run, outcome, parts.costs)
        calibration = parts.policies.calibration(model, run, outcome)
        record = decision_record(model, run, outcome, charges, answers=options.include_answers, calibration=calibration)
        parts.live.ended(request.ask.prompt, outcome, record)
        parts.instruments.record_all(request_measures(model, run, outcome, record, charges))
        if request.span is not None:
            request.span.end(run, outcome, record)
        if parts.config.router.log_decisions:
            logger.info("decision %s", json.dumps(to_json(record.without_answers())))
        return record

    async def embed(self, model: str, texts: Sequence[str]) -> list[Embedding]:
        return await self.parts.embedder.embed(model, texts)

    async def readiness(self) -> Readiness:
        state, gate = await self.parts.readiness.now(), self.parts.gate
        own: JsonObject = {
            "draining": gate.closed,
            "refused_keys": self.parts.access.refused,
            "shedding": [id_ for id_, active, _ in self.parts.shedding.states() if active],
        }
        return Readiness(state.ready and not gate.closed, state.details | own)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply new thresholds. Invalid ones are refused and reported, and the old ones stay in force.

        Never raises: Serve would kill and restart the replica over and over.
        """
        self.parts.policies.change(user_config)

    async def check_health(self) -> None:
        """Set the gauges, which Ray forgets if they are not set again, and see that figures are exchanged.

        Serve calls this every few seconds.
        """
        if self.parts.exchange is not None:
            self.parts.exchange.begin()
        self.parts.instruments.record_all(gauges(self.parts.policies, self.parts.protection, self.parts.shedding))

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what `deferral_policy` needs to know; Ray Serve calls this if the router scales by load."""
        return {f"{EXPECTED}{model}": expected for model, expected in self.parts.demand.expected().items()}

    async def drain(self) -> int:
        """Refuse new requests from now on, and return how many are in progress."""
        self.parts.gate.closed = True
        return self.parts.gate.in_progress

    def __del__(self) -> None:
        """Send the last spans; Serve calls this before it stops the replica."""
        if self._tracing:
            self._tracing.flush()


def _begins(turn: Turn | None) -> bool:
    """Return whether a request with this turn asks models at once, and does not wait for another's answer."""
    return turn is None or turn.leads
