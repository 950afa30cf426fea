"""Ray Serve's own rules over a config file, and strictly: it ignores unknown keys, and reads some parts late."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from serve_app.common.secrecy import without_secrets
from serve_app.config import serve_file
from serve_app.config.explain import kind_of, plain, under_secret_name
from serve_app.config.serve_file import ServeFile
from serve_app.errors import choices

NOT_READ = {"args", "user_config", "policy", "policy_function", "request_router_class"}
"""What is ours, and what names code: Ray would import it, and it need not be installed here."""
PROXY_START_TIMEOUT = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}
"""An environment variable: Serve kills a proxy that is not up in time; its 5 s are too short beside loading models."""
PROXY_SETTINGS = {
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.deployments.protecting.proxy_errors.middlewares",
    **PROXY_START_TIMEOUT,
}
"""The same, and that Serve's proxies answer errors in the API's shape, and ask once more if a router died."""
Models: TypeAlias = Mapping[str, type[BaseModel]]


def load(path: Path) -> ServeFile:
    """Return the file, validated against Ray Serve's own rules, too. Raises ConfigError as `serve_file.load` does."""
    return serve_file.load(path, faults)


def loads(text: str, path: Path) -> ServeFile:
    """Return the file with this text, as `load` does; `path` is only its name in messages."""
    return serve_file.loads(text, path, faults)


def faults(values: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each thing in the file that Ray Serve would refuse or ignore, with the field's path.

    The parts that are ours (`args`, the router's `user_config`) are not checked. Importing Ray takes a second.
    """
    sentences: list[str] = []
    for where, part, model in _parts(values):
        sentences += _faults_of(where, part, model)
    if not sentences:
        from ray.serve.schema import ServeDeploySchema

        sentences += _faults_of("", values, ServeDeploySchema)
    return list(dict.fromkeys(sentences))


def _parts(values: Mapping[str, Any]) -> Iterator[tuple[str, Any, type[BaseModel]]]:
    """Yield path, value and Ray's model of each part of the file; `null` is left to Ray's own default."""
    from ray.serve.config import (
        AutoscalingConfig,
        AutoscalingPolicy,
        BackpressureConfig,
        ControllerOptions,
        DeploymentActorConfig,
        GangSchedulingConfig,
        RequestRouterConfig,
    )
    from ray.serve.schema import LoggingConfig, RayActorOptionsSchema, TracingConfig, gRPCOptionsSchema

    of_file: Models = {
        "grpc_options": gRPCOptionsSchema,
        "controller_options": ControllerOptions,
        "logging_config": LoggingConfig,
        "tracing_config": TracingConfig,
    }
    of_application: Models = {"logging_config": LoggingConfig, "autoscaling_policy": AutoscalingPolicy}
    of_deployment: Models = {
        "autoscaling_config": AutoscalingConfig,
        "logging_config": LoggingConfig,
        "ray_actor_options": RayActorOptionsSchema,
        "request_router_config": RequestRouterConfig,
        "gang_scheduling_config": GangSchedulingConfig,
        "backpressure_config": BackpressureConfig,
    }
    yield from _present("", values, of_file)
    for i, application in enumerate(values["applications"]):
        path = f"applications[{i}]."
        yield from _present(path, application, of_application)
        for j, deployment in enumerate(application.get("deployments", [])):
            inner = f"{path}deployments[{j}]."
            yield from _present(inner, deployment, of_deployment)
            policy = (deployment.get("autoscaling_config") or {}).get("policy")
            if policy is not None:
                yield f"{inner}autoscaling_config.policy", policy, AutoscalingPolicy
            for k, actor in enumerate(deployment.get("deployment_actors") or []):
                yield f"{inner}deployment_actors[{k}]", actor, DeploymentActorConfig


def _present(path: str, values: Mapping[str, Any], models: Models) -> Iterator[tuple[str, Any, type[BaseModel]]]:
    for key, model in models.items():
        if values.get(key) is not None:
            yield path + key, values[key], model


def _faults_of(where: str, values: Any, model: type[BaseModel]) -> Iterator[str]:
    if not isinstance(values, Mapping):
        yield f"{where}: must be a mapping, got {kind_of(values)}."
        return
    available = set(model.model_fields)
    unknown = [key for key in values if key not in available]
    for key in unknown:
        yield f"{where}.{key}: unknown key. {choices(str(key), available)}"
    try:
        model.model_validate(_read({key: value for key, value in values.items() if key not in unknown}))
    except ValidationError as error:
        yield from _sentences(where, error)


def _read(value: Any) -> Any:
    """Return the value without NOT_READ, at any depth."""
    if isinstance(value, Mapping):
        return {key: _read(inner) for key, inner in value.items() if key not in NOT_READ}
    return [_read(inner) for inner in value] if isinstance(value, list) else value


def _sentences(where: str, error: ValidationError) -> Iterator[str]:
    """Yield one sentence for each field: if Ray allows several types, pydantic reports each of them."""
    reported_paths = set()
    for item in error.errors(include_url=False):
        path = where
        for step in item["loc"]:
            # Steps that name a type (`constrained-int`, `AutoscalingConfig`) are pydantic's, not the file's.
            if isinstance(step, int):
                path += f"[{step}]"
            elif step.islower() and step.isidentifier() and step not in ("int", "str", "float", "bool", "dict"):
                path += f".{step}"
        if path not in reported_paths:
            reported_paths.add(path)
            value = item["input"]
            simple = isinstance(value, str | int | float) and item["type"] != "value_error"
            simple = simple and not under_secret_name(item["loc"])
            sentence = f"{path.lstrip('.')}: {plain(item['msg'])}{f', got {value!r}' if simple else ''}."
            yield without_secrets(sentence)
