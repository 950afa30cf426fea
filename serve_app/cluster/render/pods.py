"""Render pod templates: Ray's head and workers, and the pod that fetches models, all by the `restricted` standard."""

from dataclasses import dataclass
from math import ceil
from typing import Self

from serve_app.cluster.manifests import Fields
from serve_app.cluster.render import nodes
from serve_app.cluster.render.image import IMAGE
from serve_app.cluster.render.worker_groups import WorkerGroup
from serve_app.cluster.serve_config import CLIENT_KEYS, KEYS, MODELS, PORT, key_variables, reads_key_files
from serve_app.cluster.settings import Pod, Settings
from serve_app.config import AppConfig
from serve_app.config.ray_rules import PROXY_SETTINGS
from serve_app.errors import ConfigError

CONFIG = "/etc/cascade/serve.yaml"
USER = 1000
"""The image's user and group, which must own the models' volume."""
GROUP_LABEL = "semantic-cascade/group"
"""The label of a worker with the name of its group, by which budgets select."""
SCRATCH = {"tmp": "/tmp", "home": "/home/cascade"}
"""All that a container may write to: Ray's session is in the one, caches of compilers and libraries in the other."""
PORTS = {
    "gcs-server": 6379,
    "dashboard": 8265,
    "client": 10001,
    "serve": PORT,
    "metrics": 8080,
    "as-metrics": 44217,
    "dash-metrics": 44227,
}
"""The head's ports. If one is named, the operator drops its own list, so all are."""
AGENT_PORT = 52365
DRAIN_MARGIN_S = 30
"""From the end of Ray's draining to SIGKILL, and from a replica's last second to the end of Ray's draining."""


def labels(settings: Settings, component: str) -> dict[str, str]:
    """Label an object of a component; policies and budgets select by these labels."""
    return {"app.kubernetes.io/instance": settings.name, "app.kubernetes.io/component": component}


def head(settings: Settings, drain_s: int) -> Fields:
    """Return the head, which schedules and runs no replica. Its autoscaler needs the service account."""
    health = _probe("/api/healthz", AGENT_PORT)
    dashboard = settings.ray_dashboard.variables() if settings.ray_dashboard else {}
    container = {
        "name": "ray-head",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": name, "containerPort": port} for name, port in PORTS.items()],
        "env": [*_environment(drain_s), *({"name": name, "value": value} for name, value in dashboard.items())],
        "resources": _resources(settings.head),
        "securityContext": container_security(),
        "volumeMounts": scratch_mounts(),
        "livenessProbe": health | {"initialDelaySeconds": 30, "failureThreshold": 120},
        "readinessProbe": health | {"failureThreshold": 10},
    }
    # Moving the head ends the cluster, or with Redis interrupts its management: no autoscaler should, to save a node.
    annotations = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    return {
        "metadata": {"labels": labels(settings, "head"), "annotations": annotations},
        "spec": _pod_spec(settings, drain_s) | {"containers": [container], "volumes": _scratch_volumes()},
    }


@dataclass(frozen=True, slots=True)
class Needs:
    """What a config needs in its workers: whether models from the volume, and which keys from Secrets.

    `key_variables` are environment variables, `key_files` is whether models read keys from files, too; `client_keys`
    is whether clients of the API need keys.
    """

    models: bool
    key_variables: tuple[str, ...]
    key_files: bool
    client_keys: bool

    @classmethod
    def of(cls, args: AppConfig) -> Self:
        """Return the needs of a config."""
        return cls(
            models=bool(args.weights()),
            key_variables=tuple(key_variables(args)),
            key_files=reads_key_files(args),
            client_keys=not args.router.access.open,
        )


def worker(group: WorkerGroup, settings: Settings, needs: Needs, drain_s: int) -> Fields:
    """Return a worker, which waits until the models are on the volume, and cannot write there."""
    volumes, mounts = _worker_volumes(settings, needs)
    spec = _pod_spec(settings, drain_s) | {"automountServiceAccountToken": False}
    if needs.models:
        spec["initContainers"] = [_wait_for_models()]
    container = _worker_container(group, settings, needs, drain_s) | {"volumeMounts": mounts}
    spec |= {"containers": [container], "volumes": volumes} | nodes.placement(group, settings)
    return {"metadata": {"labels": labels(settings, "worker") | {GROUP_LABEL: group.name}}, "spec": spec}


def _worker_volumes(settings: Settings, needs: Needs) -> tuple[list[Fields], list[Fields]]:
    """Return a worker's volumes and their mounts."""
    volumes, mounts = _scratch_volumes(), scratch_mounts()
    if needs.models:
        volumes += _models_volumes(settings)
        mounts.append(_models(read_only=True))
    secrets = [("keys", settings.api_keys_secret, KEYS)] if needs.key_files else []
    # Mounted as a folder, so that changed keys reach a running pod.
    secrets += [("client-keys", settings.client_keys_secret, CLIENT_KEYS)] if needs.client_keys else []
    for name, secret, path in secrets:
        volumes.append({"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}})
        mounts.append({"name": name, "mountPath": str(path), "readOnly": True})
    return volumes, mounts


def _worker_container(group: WorkerGroup, settings: Settings, needs: Needs, drain_s: int) -> Fields:
    keys = sorted({*needs.key_variables, *settings.secret_env})
    return {
        "name": "ray-worker",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": name, "containerPort": PORTS[name]} for name in ("serve", "metrics")],
        "env": _without_repeats(
            [*_environment(drain_s), *(secret_variable(name, settings.api_keys_secret, name) for name in keys)],
            "secret_env",
        ),
        "resources": _resources(Pod(cpus=group.cpus, memory=f"{ceil(group.memory / 2**20)}Mi"), group.gpus),
        "securityContext": container_security(),
        "livenessProbe": _probe("/api/healthz", AGENT_PORT) | {"initialDelaySeconds": 30, "failureThreshold": 120},
        # Only pods whose proxy answers get requests.
        "readinessProbe": _probe("/-/healthz", PORT) | {"failureThreshold": 3},
    }


def pull(settings: Settings) -> Fields:
    """Return the pod of the Job that fetches the models: only it may write to the volume and reach the hub."""
    container = {
        "name": "pull",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["cascade", "pull", CONFIG],
        "env": _without_repeats(
            [
                {"name": "CASCADE_HOME", "value": str(MODELS)},
                secret_variable("HF_TOKEN", settings.hub_token_secret, "token", optional=True),
                *({"name": name, "value": value} for name, value in settings.pull_env.items()),
                *(secret_variable(name, settings.api_keys_secret, name) for name in settings.pull_secret_env),
            ],
            "pull_env, pull_secret_env",
        ),
        "resources": _resources(Pod(cpus=1, memory="4Gi")),
        "securityContext": container_security(),
        "volumeMounts": [*scratch_mounts(), _models(read_only=False), _config()],
    }
    volumes = [*_scratch_volumes(), *_models_volumes(settings)]
    spec = _security(settings) | {
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": volumes,
    }
    return {"metadata": {"labels": labels(settings, "pull")}, "spec": spec}


def container_security() -> Fields:
    """Return what the `restricted` standard demands of each container, and a root that cannot be written to."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}


def scratch_mounts() -> list[Fields]:
    """Return the mounts of what a container may write to, and loses with its pod."""
    return [{"name": name, "mountPath": path} for name, path in SCRATCH.items()]


def _scratch_volumes() -> list[Fields]:
    return [{"name": name, "emptyDir": {}} for name in SCRATCH]


def _models_volumes(settings: Settings) -> list[Fields]:
    """Return the volume with the models, and the config that names them."""
    return [
        {"name": "models", "persistentVolumeClaim": {"claimName": f"{settings.name}-models"}},
        {"name": "config", "configMap": {"name": f"{settings.name}-config"}},
    ]


def _models(*, read_only: bool) -> Fields:
    return {"name": "models", "mountPath": str(MODELS)} | ({"readOnly": True} if read_only else {})


def _config() -> Fields:
    return {"name": "config", "mountPath": "/etc/cascade", "readOnly": True}


def secret_variable(name: str, secret: str, key: str, *, optional: bool = False) -> Fields:
    """Return an environment variable that refers to a key of a Secret."""
    reference: Fields = {"name": secret, "key": key} | ({"optional": True} if optional else {})
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def _wait_for_models() -> Fields:
    """Return the init container that ends once the Job has fetched everything."""
    return {
        "name": "models",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["cascade", "pull", "--wait", CONFIG],
        "env": [{"name": "CASCADE_HOME", "value": str(MODELS)}],
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": container_security(),
        "volumeMounts": [*scratch_mounts(), _models(read_only=True), _config()],
    }


def _pod_spec(settings: Settings, drain_s: int) -> Fields:
    return _security(settings) | {"terminationGracePeriodSeconds": drain_s + DRAIN_MARGIN_S}


def _security(settings: Settings) -> Fields:
    context: Fields = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",  # otherwise each start visits all files of the volume
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    pull_secret = settings.image_pull_secret
    return {"securityContext": context} | ({"imagePullSecrets": [{"name": pull_secret}]} if pull_secret else {})


def _environment(drain_s: int) -> list[Fields]:
    values = {
        "CASCADE_HOME": str(MODELS),
        "HF_HUB_OFFLINE": "1",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(drain_s),
        "RAY_USAGE_STATS_ENABLED": "0",
        **PROXY_SETTINGS,
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def _without_repeats(variables: list[Fields], fields: str) -> list[Fields]:
    """Return the variables. Raises ConfigError for one that is set twice, which the API server refuses."""
    names = [variable["name"] for variable in variables]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{fields}: {', '.join(repeated)} is set already; leave it out.")
    return variables


def _resources(pod: Pod, gpus: int = 0) -> Fields:
    amounts: Fields = {"cpu": str(pod.cpus), "memory": pod.memory}
    return {"requests": amounts, "limits": amounts | ({"nvidia.com/gpu": str(gpus)} if gpus else {})}


def _probe(path: str, port: int) -> Fields:
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": 5, "timeoutSeconds": 5}
