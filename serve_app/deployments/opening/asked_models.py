"""All models that a request can ask: deployments, adapters of them, and samples of either."""

from collections.abc import Mapping
from typing import Any

from ray.serve.handle import DeploymentHandle

from serve_app.common.retries import RESERVE, RetryBudget
from serve_app.config import AppConfig
from serve_app.core.protocols import Model
from serve_app.core.sampling import SampledModel
from serve_app.deployments.handles import ModelHandle
from serve_app.deployments.protecting.liveness import Liveness


def asked_models(
    config: AppConfig, handles: Mapping[str, DeploymentHandle[Any]], liveness: Liveness
) -> dict[str, Model]:
    """Return the models by the names that tiers have for them; `handles` are by deployment."""
    retries = {name: _retries(config, name) for name in handles}
    models: dict[str, Model] = {
        name: ModelHandle(name, handle, liveness, retries=retries[name]) for name, handle in handles.items()
    }
    for base, handle in handles.items():
        models |= {name: ModelHandle(base, handle, liveness, name, retries[base]) for name in config.adapters(base)}
    return models | {name: SampledModel(models[sample.base], sample) for name, sample in config.samples().items()}


def _retries(config: AppConfig, name: str) -> RetryBudget | None:
    """Return a budget for the calls of a deployment's lost replicas, or None if it has no other replica to ask.

    All that one replica was working on may be asked again at once.
    """
    model = config.deployed()[name]
    return RetryBudget(max(RESERVE, model.concurrency)) if model.placed().most_replicas > 1 else None
