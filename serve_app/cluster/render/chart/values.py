"""The values of the chart: what a release may change without rendering anew, with defaults from the settings."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from serve_app.cluster.field_types import NAME_LENGTH, NAME_PATTERN, SIZE_PATTERN
from serve_app.cluster.manifests import Fields, Manifest
from serve_app.cluster.names import LABEL_LENGTH, LABEL_PATTERN, SUBDOMAIN_LENGTH, SUBDOMAIN_PATTERN
from serve_app.cluster.render import image
from serve_app.cluster.render.chart.marked import PLACEMENT
from serve_app.cluster.render.objects import Objects
from serve_app.cluster.render.yaml_text import dumped
from serve_app.cluster.settings import Gateway, Ingress, Redis, Settings, Storage

TEXT: Fields = {"type": "string"}
REQUIRED_TEXT: Fields = {"type": "string", "minLength": 1}
OPTIONAL_TEXT: Fields = {"type": ["string", "null"]}
NAMESPACE: Fields = {"type": "string", "pattern": f"^{LABEL_PATTERN}$", "maxLength": LABEL_LENGTH}
OBJECT_NAME: Fields = {"type": "string", "pattern": f"^{SUBDOMAIN_PATTERN}$", "maxLength": SUBDOMAIN_LENGTH}
HOST: Fields = {"type": "string", "pattern": rf"^(\*\.)?{SUBDOMAIN_PATTERN}$", "maxLength": SUBDOMAIN_LENGTH}
COUNT: Fields = {"type": "integer", "minimum": 0}
POSITIVE: Fields = {"type": "integer", "minimum": 1}
PERCENT: Fields = {"type": "integer", "minimum": 1, "maximum": 100}
SWITCH: Fields = {"type": "boolean"}
MAPPING: Fields = {"type": ["object", "null"]}
LIST: Fields = {"type": ["array", "null"], "items": {"type": "object"}}
TEXTS: Fields = {"type": ["object", "null"], "additionalProperties": {"type": "string"}}
SHAPES = {"nodeSelector": TEXTS, "tolerations": LIST, "affinity": MAPPING}
EMPTY: dict[str, Any] = {"nodeSelector": {}, "tolerations": [], "affinity": {}}


@dataclass(frozen=True)
class Value:
    """One value: its path such as `image.tag`, and what values.yaml and values.schema.json say of it."""

    path: str
    default: Any
    description: str
    schema: Fields


def values(objects: Objects, settings: Settings, chosen: Settings) -> list[Value]:
    """Return the values of a chart.

    `objects` were built of `settings`, which have each part that can be switched on; `chosen` are the user's, which say
    whether it is.
    """
    address = image.parse(settings.image)
    pull_secrets = [{"name": settings.image_pull_secret}] if settings.image_pull_secret else []
    return [
        Value(
            "nameOverride",
            "",
            "Name of the RayService, and prefix of the other objects, in place of the release's.",
            {"type": "string", "pattern": f"^({NAME_PATTERN})?$", "maxLength": NAME_LENGTH},
        ),
        Value("image.repository", address.repository, _of(Settings, "image"), REQUIRED_TEXT),
        Value("image.tag", address.tag, "Its tag.", TEXT),
        Value("image.digest", address.digest, "Such as sha256:..., in place of the tag.", TEXT),
        Value("image.pullPolicy", "IfNotPresent", "When nodes pull it.", {"enum": ["Always", "IfNotPresent", "Never"]}),
        Value(
            "imagePullSecrets", pull_secrets, "Secrets with the registry's credentials, such as {name: registry}.", LIST
        ),
        Value("secrets.rayToken", settings.ray_token_secret, _of(Settings, "ray_token_secret"), OBJECT_NAME),
        Value("secrets.clientKeys", settings.client_keys_secret, _of(Settings, "client_keys_secret"), OBJECT_NAME),
        Value("secrets.apiKeys", settings.api_keys_secret, _of(Settings, "api_keys_secret"), OBJECT_NAME),
        Value("secrets.hubToken", settings.hub_token_secret, _of(Settings, "hub_token_secret"), OBJECT_NAME),
        Value("operatorNamespace", settings.operator_namespace, _of(Settings, "operator_namespace"), NAMESPACE),
        Value("monitoring.enabled", chosen.monitoring, _of(Settings, "monitoring"), SWITCH),
        Value("monitoring.namespace", settings.monitoring_namespace, _of(Settings, "monitoring_namespace"), NAMESPACE),
        *_storage(objects, settings.storage),
        *_workers(objects.service, settings),
        *_ingress(objects, settings.ingress, enabled=chosen.ingress is not None),
        *_redis(settings.redis),
        *_gateway(settings.gateway),
    ]


def _storage(objects: Objects, storage: Storage) -> list[Value]:
    if not objects.file.application.args.weights():
        return []
    mode = "ReadWriteMany" if storage.shared else "ReadWriteOnce"
    return [
        Value("storage.size", storage.size, _of(Storage, "size"), {"type": "string", "pattern": f"^{SIZE_PATTERN}$"}),
        Value("storage.storageClass", storage.storage_class, _of(Storage, "storage_class"), OPTIONAL_TEXT),
        Value(
            "storage.accessMode",
            mode,
            "ReadWriteMany: mounted on several nodes; ReadWriteOnce: one node only.",
            {"enum": ["ReadWriteMany", "ReadWriteOnce"]},
        ),
    ]


def _workers(service: Manifest, settings: Settings) -> list[Value]:
    cluster = service["spec"]["rayClusterConfig"]
    table = _pod("head", cluster["headGroupSpec"]["template"]["spec"])
    table.append(Value("idleTimeoutSeconds", settings.idle_timeout_s, _of(Settings, "idle_timeout_s"), POSITIVE))
    for group in cluster["workerGroupSpecs"]:
        path = f"workerGroups.{group['groupName']}"
        table += [
            Value(f"{path}.replicas", group["replicas"], "Pods at the start.", COUNT),
            Value(f"{path}.minReplicas", group["minReplicas"], "Pods at least.", COUNT),
            Value(f"{path}.maxReplicas", group["maxReplicas"], "Pods at most.", COUNT),
            *_pod(path, group["template"]["spec"]),
        ]
    return table


def _pod(path: str, spec: Fields) -> list[Value]:
    resources = spec["containers"][0]["resources"]
    sizes = "CPUs, memory and GPUs; Ray counts those that the config was rendered for, so render anew for fewer."
    return [
        Value(f"{path}.resources", resources, sizes, {"type": "object"}),
        *(
            Value(f"{path}.{key}", spec.get(key, EMPTY[key]), f"Kubernetes' {key} of the pods.", SHAPES[key])
            for key in PLACEMENT
        ),
    ]


def _ingress(objects: Objects, ingress: Ingress | None, *, enabled: bool) -> list[Value]:
    if ingress is None:
        return []
    [body] = dict(objects.own)["ingress"]
    return [
        Value("ingress.enabled", enabled, f"{Ingress.__doc__}", SWITCH),
        Value("ingress.host", ingress.host, _of(Ingress, "host"), HOST),
        Value("ingress.className", ingress.class_name, _of(Ingress, "class_name"), OPTIONAL_TEXT),
        Value("ingress.tlsSecret", ingress.tls_secret, _of(Ingress, "tls_secret"), OPTIONAL_TEXT),
        Value(
            "ingress.annotations",
            body["metadata"]["annotations"],
            "For its controller; the timeouts are nginx's.",
            TEXTS,
        ),
    ]


def _redis(redis: Redis | None) -> list[Value]:
    if redis is None:
        return []
    host = redis.address.rpartition(":")[0]
    return [
        Value("redis.host", host, f"Of port {redis.port}; not made by the chart.", REQUIRED_TEXT),
        Value("redis.secret", redis.secret, _of(Redis, "secret"), OBJECT_NAME),
        Value("redis.key", redis.key, _of(Redis, "key"), REQUIRED_TEXT),
    ]


def _gateway(gateway: Gateway | None) -> list[Value]:
    if gateway is None:
        return []
    return [
        Value("gateway.className", gateway.class_name, _of(Gateway, "class_name"), OBJECT_NAME),
        Value("gateway.stepSizePercent", gateway.step_size_percent, _of(Gateway, "step_size_percent"), PERCENT),
        Value("gateway.intervalSeconds", gateway.interval_s, _of(Gateway, "interval_s"), POSITIVE),
        Value("gateway.maxSurgePercent", gateway.max_surge_percent, _of(Gateway, "max_surge_percent"), PERCENT),
    ]


def _of(model: type[BaseModel], field: str) -> str:
    """Return the description of a setting."""
    return f"{model.model_fields[field].description}"


def values_yaml(table: Iterable[Value], comment: str) -> str:
    """Return values.yaml: each value under its description."""
    lines = [f"# {line}" for line in comment.splitlines()]
    above: list[str] = []
    for value in table:
        *parents, key = value.path.split(".")
        shared = 0
        while shared < min(len(parents), len(above)) and parents[shared] == above[shared]:
            shared += 1
        lines += [f"{'  ' * depth}{parents[depth]}:" for depth in range(shared, len(parents))]
        indent, above = "  " * len(parents), parents
        lines.append(f"{indent}# {value.description}")
        lines += [f"{indent}{line}" for line in dumped([{key: value.default}]).splitlines()]
    return "".join(f"{line}\n" for line in lines)


def values_schema(table: Iterable[Value]) -> str:
    """Return values.schema.json. A value that templates leave out if it is empty may be null, which removes it."""
    root = _object()
    for value in table:
        *parents, key = value.path.split(".")
        node = root
        for parent in parents:
            node = _child(node, parent)
        node["properties"][key] = {"description": value.description} | value.schema
        if "null" not in value.schema.get("type", ()):
            node["required"].append(key)
    root["properties"]["global"] = {"type": "object"}  # what Helm adds if the chart is a part of another
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#"} | root, indent=2) + "\n"


def _child(node: Fields, name: str) -> Fields:
    if name not in node["properties"]:
        node["properties"][name] = _object()
        node["required"].append(name)
    child: Fields = node["properties"][name]
    return child


def _object() -> Fields:
    return {"type": "object", "additionalProperties": False, "properties": {}, "required": []}
