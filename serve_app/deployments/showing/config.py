"""The graph of the config in force, for the page: what is deployed and how it decides, and nothing secret."""

from collections.abc import Mapping

from serve_app.config import AppConfig, ModelConfig
from serve_app.config.deployment import ACCELERATOR, Bundle, DeploymentOptions
from serve_app.config.services import STATE_STORE
from serve_app.core.record_json import JsonObject
from serve_app.deployments.policies import Policies
from serve_app.deployments.protecting.readiness import ReadinessProbe
from serve_app.deployments.showing.policy_words import joined, policy_sentences, remedy_sentences
from serve_app.engines import WeightsSettings
from serve_app.weights import parse_origins
from serve_app.weights.sources import LocalSource, base_name


class ConfigGraph:
    """Names each field that it shows, so that a new field in a config is not shown automatically."""

    def __init__(self, config: AppConfig, policies: Policies, readiness: ReadinessProbe) -> None:
        self._config = config
        self._policies = policies
        self._readiness = readiness

    async def graph(self) -> JsonObject:
        running = (await self._readiness.now()).details.get("replicas")
        replicas = running if isinstance(running, Mapping) else {}
        return {
            "cascades": [self._cascade(id_) for id_ in self._config.cascades],
            "models": [self._model(name, model) for name, model in self._config.models.items()],
            "deployments": [
                _deployment(name, self._holds(name), options, replicas.get(name))
                for name, options in self._config.deployments().items()
            ],
        }

    def _cascade(self, id_: str) -> JsonObject:
        config, tiers = self._config.cascades[id_], self._policies.tiers[id_]
        following = [joined(tier.models) for tier in tiers[1:]]
        return {
            "id": id_,
            "calibration": self._policies.calibrations.get(id_),
            "remedies": remedy_sentences(config),
            "tiers": [
                {
                    "models": list(tier.models),
                    "deployments": [self._config.served_by(name) for name in tier.models],
                    "signal": tier.signal,
                    "threshold": None if tier.signal is None else tier.threshold,
                    "policy": policy_sentences(tier, after, tier_config.compare, first=number == 0),
                }
                for number, (tier, tier_config, after) in enumerate(
                    zip(tiers, config.tiers, [*following, None], strict=True)
                )
            ],
        }

    def _model(self, name: str, model: ModelConfig) -> JsonObject:
        return {
            "name": name,
            "engine": model.engine,
            "parameters": model.parameters,
            "active_parameters": model.active_parameters,
            "weights": _sources(model) if isinstance(model, WeightsSettings) else [],
            "deployment": self._config.served_by(name),
        }

    def _holds(self, deployment: str) -> str:
        if deployment in self._config.models:
            return "model"
        return {"Router": "router", "Scorer": "scorer", STATE_STORE: "shared state"}.get(deployment, "signal")


def _sources(model: WeightsSettings) -> list[str]:
    """Return the sources of a model's weights; of a path on this machine only the last part."""
    origins = parse_origins(model.weights, model.sha256)
    return [base_name(origin.source) if isinstance(origin.source, LocalSource) else origin.uri for origin in origins]


def _deployment(name: str, holds: str, options: DeploymentOptions, running: int | None) -> JsonObject:
    scaling = options.autoscaling_config
    low, high = (options.num_replicas or 1,) * 2 if scaling is None else (scaling.min_replicas, scaling.max_replicas)
    bundles = options.bundles()
    return {
        "name": name,
        "holds": holds,
        "replicas": [low, high],
        "running": running,
        "bundles": [bundle_words(bundle) for bundle in bundles],
        "strategy": options.placement_group_strategy or "PACK" if bundles[1:] else None,
    }


def bundle_words(bundle: Bundle) -> str:
    """Return what a bundle reserves: `1 GPU (L4), 4 CPU`."""
    kinds = [name.removeprefix(ACCELERATOR) for name in bundle if name.startswith(ACCELERATOR)]
    order = sorted(bundle, key=lambda name: (name != "GPU", name != "CPU"))
    words = [_amount(name, bundle[name], kinds) for name in order if not name.startswith(ACCELERATOR)]
    return ", ".join(words if "GPU" in bundle or not kinds else [*words, f"on {joined(kinds)}"])


def _amount(name: str, amount: float, kinds: list[str]) -> str:
    if name == "memory":
        return f"{amount / 1e9:g} GB memory"
    return f"{amount:g} {name}{f' ({joined(kinds)})' if name == 'GPU' and kinds else ''}"
