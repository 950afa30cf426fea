"""Everything a user can write in YAML. Values only: reading a configuration fetches, loads and starts nothing."""

from serve_app.config.app import AppConfig
from serve_app.config.cascades.cascade import CascadeConfig
from serve_app.config.cascades.tier import TARGET_TIMEOUT_S, TierConfig
from serve_app.config.cascades.views import ViewConfig
from serve_app.config.metrics import MetricConfig
from serve_app.config.models import (
    DeployedFacts,
    DeployedModel,
    LlamaCppModel,
    ModelConfig,
    ModelFacts,
    OpenAiApiModel,
    ReplayModel,
    Seq2SeqModel,
    VllmLoraModel,
    VllmModel,
    operational_options,
)
from serve_app.config.router_settings import Calibrated, RouterSettings
from serve_app.config.services import AccessConfig, CorsConfig, ScorerConfig, TracingConfig

__all__ = [
    "TARGET_TIMEOUT_S",
    "AccessConfig",
    "AppConfig",
    "Calibrated",
    "CascadeConfig",
    "CorsConfig",
    "DeployedFacts",
    "DeployedModel",
    "LlamaCppModel",
    "MetricConfig",
    "ModelConfig",
    "ModelFacts",
    "OpenAiApiModel",
    "ReplayModel",
    "RouterSettings",
    "ScorerConfig",
    "Seq2SeqModel",
    "TierConfig",
    "TracingConfig",
    "ViewConfig",
    "VllmLoraModel",
    "VllmModel",
    "operational_options",
]
