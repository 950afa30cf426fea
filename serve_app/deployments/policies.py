"""The policies in force: thresholds that `serve deploy` changes while requests run, and where they come from."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from serve_app.config import TARGET_TIMEOUT_S, AppConfig, RouterSettings
from serve_app.config.explain import explain
from serve_app.core.record_json import JsonObject
from serve_app.core.running.run import Run
from serve_app.core.types.outcome import Outcome
from serve_app.core.types.policy import Tier

logger = logging.getLogger("ray.serve")


class Policies:
    """Tiers by the model ids of requests, with the thresholds in force; a single model is a cascade of one tier.

    Of the calibrations in force, `expected` are the deferral rates with their bounds, `agreements` says how the first
    tier's agreement was spread, and `exchange` what quality costs. `shed_thresholds` are those under pressure.
    `refused` says what was wrong with the last change, if it was not applied.
    """

    def __init__(self, config: AppConfig) -> None:
        self._config = config
        self.refused: JsonObject | None = None
        self._apply(RouterSettings())

    def change(self, user_config: dict[str, Any]) -> None:
        """Apply new thresholds. Invalid ones are refused and reported, and the old ones stay in force."""
        try:
            self._apply(RouterSettings.model_validate(user_config))
            self.refused = None
        except ValidationError as error:
            self._refuse(user_config, " ".join(explain(error, RouterSettings, "user_config.")))
        except ValueError as error:
            self._refuse(user_config, f"user_config.{error}.")

    def _refuse(self, user_config: dict[str, Any], message: str) -> None:
        self.refused = {"message": message, "user_config": user_config, "in_force": self.thresholds}
        logger.error("The new user_config is refused, the old thresholds stay in force: %s", message)

    def _apply(self, settings: RouterSettings) -> None:
        thresholds = settings.applied_to(self._config)
        tiers = {id_: self._config.tiers(id_, row) for id_, row in thresholds.items()}
        self.thresholds = thresholds
        self.calibrations = {id_: calibrated.id for id_, calibrated in settings.calibrations.items()}
        self.expected = {id_: calibrated.deferral_rate for id_, calibrated in settings.calibrations.items()}
        self.agreements = {
            id_: calibrated.agreements.histogram()
            for id_, calibrated in settings.calibrations.items()
            if calibrated.agreements is not None
        }
        self.exchange = {
            id_: [point.point() for point in calibrated.exchange] for id_, calibrated in settings.calibrations.items()
        }
        self.shed_thresholds = settings.shed_thresholds(self._config)
        self._shed_calibrated = {id_ for id_, calibrated in settings.calibrations.items() if calibrated.shed}
        self.tiers: dict[str, tuple[Tier, ...]] = tiers | {
            name: (Tier((name,), timeout_s=TARGET_TIMEOUT_S),) for name in self._config.models
        }

    def calibration(self, model: str, run: Run, outcome: Outcome | None = None) -> str | None:
        """Return the id of the calibration in force, or None if it is not about the decision.

        That is if the request overrode the policy or skipped it, or a signal stood in for one whose scorer failed. A
        cached answer's `outcome` has what its own run lacks.
        """
        results = run.results if outcome is None else outcome.tiers
        skipped = run.skipped or (outcome is not None and outcome.skipped)
        if skipped or any(result.tier.stands_in_for is not None for result in results):
            return None
        return self.calibrations.get(model) if self.in_force_for(model, run) else None

    def shed_calibration(self, model: str) -> str | None:
        """Return the id of the calibration that a cascade's thresholds under pressure come from, or None."""
        return self.calibrations.get(model) if model in self._shed_calibrated else None

    def in_force_for(self, model: str, run: Run) -> bool:
        """Return whether the request had the policy of its cascade, and did not override it.

        The time at which a tier stops waiting for answers that can change nothing is not a part of the policy.
        """
        return run.force is None and _waiting_alike(run.tiers) == _waiting_alike(self.tiers[model])


def _waiting_alike(tiers: Sequence[Tier]) -> list[Tier]:
    return [tier if tier.early == "selection" else replace(tier, early="selection") for tier in tiers]
