"""The cards of the ids that clients can request."""

from collections.abc import Mapping

from serve_app.api.service import ModelCard
from serve_app.config import AppConfig
from serve_app.core.record_json import JsonObject
from serve_app.core.types.policy import Tier
from serve_app.deployments.policies import Policies
from serve_app.signals import SbertConfig


def cards(config: AppConfig, policies: Policies, encoders: Mapping[str, SbertConfig]) -> list[ModelCard]:
    """Return the cascades with the thresholds in force, then the models, then the encoders."""
    cascades = [
        ModelCard(id_, "cascade", {"tiers": [_tier_card(tier) for tier in policies.tiers[id_]]})
        for id_ in config.cascades
    ]
    models = [
        ModelCard(name, "model", {"engine": model.engine, "parameters": model.parameters})
        for name, model in config.models.items()
    ]
    embedding = [ModelCard(name, "embedding", {"signal": signal.kind}) for name, signal in encoders.items()]
    return cascades + models + embedding


def _tier_card(tier: Tier) -> JsonObject:
    card: JsonObject = {"models": list(tier.models)}
    return card if tier.signal is None else card | {"signal": tier.signal, "threshold": tier.threshold}
