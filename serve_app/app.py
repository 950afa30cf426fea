"""Graph: router (HTTP ingress) -> a deployment for each model, one for the scorer, one for each isolated signal.

Several routers share one more, with what they keep.
"""

from typing import Any

from ray import serve
from ray.serve import Application, Deployment

from serve_app.config import AppConfig, DeployedModel, VllmModel
from serve_app.config.deployment import DeploymentOptions, options_of
from serve_app.config.services import STATE_STORE
from serve_app.deployments.model_server import ModelServer
from serve_app.deployments.remembering.state_store import StateStore
from serve_app.deployments.router import Router
from serve_app.deployments.scorer_server import ScorerServer

CONSTRUCTOR_TRIES = 3
"""Serve's own default is 20, but a model that cannot be loaded will not load at the 20th try either."""


def build_app(args: AppConfig) -> Application:
    """Build the whole graph. Serve validates `args` by the annotation, which must be a real class."""
    models = {name: _model(args, name, model) for name, model in args.deployed().items()}
    scorer = _deployment(ScorerServer, "Scorer", args.scorer.deployment).bind(args.similarities(), args.scorer)
    isolated = {
        name: _deployment(ScorerServer, name, signal.deployment, signal.runtime_env()).bind({name: signal}, args.scorer)
        for name, signal in args.isolated().items()
    }
    deployments = args.deployments()
    state = _state_store(args) if STATE_STORE in deployments else None
    router = _deployment(serve.ingress()(Router), "Router", deployments["Router"])
    return router.options(user_config={"thresholds": args.thresholds()}).bind(args, models, scorer, isolated, state)


def _state_store(args: AppConfig) -> Application:
    deployment = _deployment(StateStore, STATE_STORE, args.state_store.deployment)
    # Routers call it up to ten times a second each, and each call would be a line of its log.
    quiet = deployment.options(logging_config={"enable_access_log": False})
    return quiet.bind(args.router.responses.limits(), args.router.max_sessions)


def _model(args: AppConfig, name: str, model: DeployedModel) -> Application:
    if isinstance(model, VllmModel):
        from serve_app.deployments.vllm.server import build_vllm_deployment  # large, and needs vLLM

        return build_vllm_deployment(name, model, args.adapters(name), CONSTRUCTOR_TRIES)
    return _deployment(ModelServer, name, model.deployment).bind(name, model)


def _deployment(
    cls: type, name: str, options: DeploymentOptions, runtime_env: dict[str, Any] | None = None
) -> Deployment:
    settings = options_of(options)
    if runtime_env:
        settings["ray_actor_options"]["runtime_env"] = runtime_env
    return serve.deployment(name=name, max_constructor_retry_count=CONSTRUCTOR_TRIES, **settings)(cls)
