"""Pod templates: Ray's head and workers, and the pod that fetches models; all by Kubernetes' `restricted` rules."""

from math import ceil

from serve_app.cluster.manifests import Fields
from serve_app.cluster.render.worker_groups import WorkerGroup
from serve_app.cluster.serve_config import KEYS, MODELS, PORT
from serve_app.cluster.settings import Pod, Settings
from serve_app.config.deployment import ACCELERATOR
from serve_app.errors import ConfigError

IMAGE = "semantic-cascade"
"""What the manifests call the image; the overlay's kustomization says where it is."""
CONFIG = "/etc/cascade/serve.yaml"
USER = 1000
"""The image's user and group, which must own the models' volume."""
PORTS = {
    "gcs-server": 6379,
    "dashboard": 8265,
    "client": 10001,
    "serve": PORT,
    "metrics": 8080,
    "as-metrics": 44217,
    "dash-metrics": 44227,
}
"""Of the head. The operator's own list goes once one is named, so all are."""
AGENT_PORT = 52365
DRAIN_MARGIN_S = 30
"""From the end of Ray's own draining to SIGKILL; and from a replica's last second to the end of Ray's draining."""
GPU_PRODUCTS = {
    "T4": ["Tesla-T4"],
    "L4": ["NVIDIA-L4"],
    "A10G": ["NVIDIA-A10G"],
    "L40S": ["NVIDIA-L40S"],
    "A100-40G": ["NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB"],
    "A100-80G": ["NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe"],
    "H100": ["NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"],
    "H200": ["NVIDIA-H200"],
    "B200": ["NVIDIA-B200"],
}
"""The node label nvidia.com/gpu.product, which NVIDIA's GPU operator sets, by Ray's name of the accelerator."""


def labels(settings: Settings, component: str) -> dict[str, str]:
    """Labels of our own, which policies and budgets select by."""
    return {"app.kubernetes.io/instance": settings.name, "app.kubernetes.io/component": component}


def head(settings: Settings, drain_s: int) -> Fields:
    """The head: it schedules and runs no replica. It keeps its service account, which the autoscaler needs."""
    health = _probe("/api/healthz", AGENT_PORT)
    container = {
        "name": "ray-head",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": name, "containerPort": port} for name, port in PORTS.items()],
        "env": _environment(drain_s),
        "resources": _resources(settings.head),
        "securityContext": container_security(),
        "livenessProbe": health | {"initialDelaySeconds": 30, "failureThreshold": 120},
        "readinessProbe": health | {"failureThreshold": 10},
    }
    # A moved head ends the cluster, or with Redis interrupts its management: no autoscaler should do it to save a node.
    annotations = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    return {
        "metadata": {"labels": labels(settings, "head"), "annotations": annotations},
        "spec": _pod_spec(settings, drain_s) | {"containers": [container]},
    }


def worker(
    group: WorkerGroup, settings: Settings, drain_s: int, *, models: bool, keys: list[str], files: bool
) -> Fields:
    """A worker. It waits until the models are on the volume, and cannot write there.

    `models`: whether there are any to load; `keys`: environment variables with API keys; `files`: keys in files, too.
    """
    volumes: list[Fields] = []
    mounts: list[Fields] = []
    if models:
        volumes += [
            {"name": "models", "persistentVolumeClaim": {"claimName": f"{settings.name}-models"}},
            {"name": "config", "configMap": {"name": f"{settings.name}-config"}},
        ]
        mounts.append({"name": "models", "mountPath": str(MODELS), "readOnly": True})
    if files:
        volumes.append({"name": "keys", "secret": {"secretName": settings.api_keys_secret, "defaultMode": 0o440}})
        mounts.append({"name": "keys", "mountPath": str(KEYS), "readOnly": True})
    container = {
        "name": "ray-worker",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": name, "containerPort": PORTS[name]} for name in ("serve", "metrics")],
        "env": _environment(drain_s) + [secret_variable(name, settings.api_keys_secret, name) for name in keys],
        "resources": _resources(Pod(cpus=group.cpus, memory=f"{ceil(group.memory / 2**20)}Mi"), group.gpus),
        "securityContext": container_security(),
        "livenessProbe": _probe("/api/healthz", AGENT_PORT) | {"initialDelaySeconds": 30, "failureThreshold": 120},
        # Only pods whose proxy answers get requests.
        "readinessProbe": _probe("/-/healthz", PORT) | {"failureThreshold": 3},
        "volumeMounts": mounts,
    }
    spec = _pod_spec(settings, drain_s) | {"automountServiceAccountToken": False}
    if models:
        spec["initContainers"] = [_waiting(mounts[:1])]
    spec |= {"containers": [container], "volumes": volumes} | _placed(group, settings)
    return {"metadata": {"labels": labels(settings, "worker")}, "spec": spec}


def pull(settings: Settings) -> Fields:
    """The pod of the Job that fetches the models: the only one that writes to the volume and reaches the hub."""
    mounts = [
        {"name": "models", "mountPath": str(MODELS)},
        {"name": "config", "mountPath": "/etc/cascade", "readOnly": True},
    ]
    container = {
        "name": "pull",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["cascade", "pull", CONFIG],
        "env": [
            {"name": "CASCADE_HOME", "value": str(MODELS)},
            secret_variable("HF_TOKEN", settings.hub_token_secret, "token", optional=True),
            *({"name": name, "value": value} for name, value in settings.pull_env.items()),
        ],
        "resources": _resources(Pod(cpus=1, memory="4Gi")),
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }
    volumes = [
        {"name": "models", "persistentVolumeClaim": {"claimName": f"{settings.name}-models"}},
        {"name": "config", "configMap": {"name": f"{settings.name}-config"}},
    ]
    spec = _security(settings) | {
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": volumes,
    }
    return {"metadata": {"labels": labels(settings, "pull")}, "spec": spec}


def container_security() -> Fields:
    """What `restricted` asks of each container."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def secret_variable(name: str, secret: str, key: str, *, optional: bool = False) -> Fields:
    """An environment variable from a Secret, by reference."""
    reference: Fields = {"name": secret, "key": key} | ({"optional": True} if optional else {})
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def _waiting(mounts: list[Fields]) -> Fields:
    """Holds a worker back until the Job has fetched everything."""
    return {
        "name": "models",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["cascade", "pull", "--wait", CONFIG],
        "env": [{"name": "CASCADE_HOME", "value": str(MODELS)}],
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": container_security(),
        "volumeMounts": [*mounts, {"name": "config", "mountPath": "/etc/cascade", "readOnly": True}],
    }


def _pod_spec(settings: Settings, drain_s: int) -> Fields:
    return _security(settings) | {"terminationGracePeriodSeconds": drain_s + DRAIN_MARGIN_S}


def _security(settings: Settings) -> Fields:
    context: Fields = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",  # else each start walks over all files of the volume
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
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def _resources(pod: Pod, gpus: int = 0) -> Fields:
    amounts: Fields = {"cpu": str(pod.cpus), "memory": pod.memory}
    return {"requests": amounts, "limits": amounts | ({"nvidia.com/gpu": str(gpus)} if gpus else {})}


def _probe(path: str, port: int) -> Fields:
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": 5, "timeoutSeconds": 5}


def _placed(group: WorkerGroup, settings: Settings) -> Fields:
    """Tolerations and the nodes with the right GPUs."""
    if not group.gpus:
        return {}
    placed: Fields = {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}
    kind = group.accelerator or "any"
    if products := settings.gpu_products.get(kind, GPU_PRODUCTS.get(kind)):
        match = {"key": "nvidia.com/gpu.product", "operator": "In", "values": products}
        required = {"nodeSelectorTerms": [{"matchExpressions": [match]}]}
        placed["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    elif group.accelerator:
        raise unknown_accelerator(group.accelerator)
    return placed


def unknown_accelerator(name: str) -> ConfigError:
    """Nodes with such GPUs cannot be told from others."""
    known = ", ".join(GPU_PRODUCTS)
    return ConfigError(
        f"Which nodes have GPUs of the accelerator_type {name!r}? Known are {known}; for others say in the settings "
        f"gpu_products: {{{name}: [VALUE]}}, with the values of the node label nvidia.com/gpu.product."
    )


def group_resources(group: WorkerGroup) -> dict[str, str]:
    """What Ray and its autoscaler count in one pod, also while there is none. Not all types are found by themselves."""
    marks = {ACCELERATOR + group.accelerator: "1"} if group.accelerator else {}
    gpus = {"GPU": str(group.gpus)} if group.gpus else {}
    return {"CPU": str(group.ray_cpus)} | gpus | marks | {name: str(amount) for name, amount in group.custom.items()}
