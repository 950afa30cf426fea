"""Readiness: whether every tier of every cascade can answer, by the status of the deployments."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from serve_app.api.service import Readiness
from serve_app.config import AppConfig
from serve_app.core.deciding.deferral import answers_needed
from serve_app.core.record_json import JsonObject
from serve_app.core.types.policy import Tier
from serve_app.deployments.policies import Policies
from serve_app.deployments.protecting.latest import Latest
from serve_app.deployments.protecting.liveness import UNREADABLE, Health
from serve_app.deployments.protecting.protection import Protection

logger = logging.getLogger("ray.serve")

STATUS_AGE_S = 1.0
"""How long a status of the deployments is reused, so that probes cost the controller little."""


class ReadinessProbe:
    """Answers probes. `look` reads the deployments' status, which blocks: it is a call to Serve's controller."""

    def __init__(
        self, config: AppConfig, policies: Policies, protection: Protection, look: Callable[[], dict[str, Health]]
    ) -> None:
        self._config = config
        self._policies = policies
        self._protection = protection
        self._look = look
        self._last = Readiness(False, {"message": "Serve's status is unknown."})
        self._latest = Latest(self._read, STATUS_AGE_S)

    async def now(self) -> Readiness:
        """Return the state, at most `STATUS_AGE_S` old; a read of it blocks one thread at most."""
        return await self._latest.get()

    async def _read(self) -> Readiness:
        try:
            self._last = self.of(await asyncio.to_thread(self._look))
        except UNREADABLE as error:
            # Requests are served on while the controller is away.
            logger.warning("Serve's status could not be read, so readiness is taken as unchanged: %r", error)
        return self._last

    def of(self, deployments: Mapping[str, Health]) -> Readiness:
        """Return whether the server can answer with its deployments in this state."""
        running = {name: health.running for name, health in deployments.items()}
        answering = {name for name, health in deployments.items() if self._answers(name, health)}
        waiting = [
            f"cascades.{id_}.tiers[{number}]"
            for id_ in self._config.cascades
            for number, tier in enumerate(self._policies.tiers[id_])
            if not self._can_answer(tier, answering)
        ]
        details: JsonObject = {
            "waiting_for": waiting,
            "replicas": running,
            "left_out": self._protection.left_out(),
            "thresholds": self._policies.thresholds,
            "calibrations": self._policies.calibrations,
            "refused_user_config": self._policies.refused,
        }
        return Readiness(not waiting, details)

    def _answers(self, name: str, health: Health) -> bool:
        return bool(health.running) or (self._sleeps(name) and not health.down)

    def _can_answer(self, tier: Tier, answering: set[str]) -> bool:
        able = sum(self._config.served_by(name) in answering for name in tier.models)
        if tier.signal is None:
            return able == 1
        scored = tier.stand_in is not None or self._config.scorers(tier.signal) <= answering
        return scored and able >= min(answers_needed(tier), len(tier.models))

    def _sleeps(self, name: str) -> bool:
        """Return whether a deployment may have no replica, and starts one on its first request."""
        options = self._config.deployments().get(name)
        scaling = options.autoscaling_config if options else None
        return scaling is not None and scaling.min_replicas == 0
