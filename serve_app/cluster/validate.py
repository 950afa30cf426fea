"""Whether manifests are what Kubernetes, the operator and Ray Serve will take, without a cluster."""

import importlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from serve_app.cluster.operator_rules import drain_faults, operator_faults
from serve_app.cluster.serve_config import graceful_shutdown_s, longest_request_s
from serve_app.deployments.serve_schema import load
from serve_app.errors import ConfigError

Body = dict[str, Any]
QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


def faults(objects: Iterable[Body], crds: Path | None = None) -> list[str]:
    """A sentence for each fault of the objects. `crds` is a folder with KubeRay's CustomResourceDefinitions.

    Kinds of Kubernetes itself are held against the models of the `kubernetes` client (extra k8s), which refuse unknown
    fields; a RayService against its CRD, the operator's own rules, and our serving config. Other kinds are not known.
    """
    found = []
    for body in objects:
        where = f"{body['kind']}/{body['metadata']['name']}"
        if body["kind"] == "RayService":
            sentences = [*operator_faults(body), *serve_faults(body)]
            sentences += crd_faults(body, crds) if crds else []
            sentences += [fault for pod in ray_pods(body) for fault in builtin_faults(pod)]
        else:
            sentences = builtin_faults(body)
        found += [f"{where}: {sentence}" for sentence in sentences]
    return found


def serve_faults(service: Body) -> list[str]:
    """`serveConfigV2` as our own config, strictly; its import path must be importable; drain times must suit it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "serve.yaml"
        path.write_text(service["spec"]["serveConfigV2"], encoding="utf-8")
        try:
            file = load(path)
        except ConfigError as error:
            return [f"serveConfigV2: {line}" for line in str(error).replace(f"{path}: ", "").splitlines()]
    module, _, name = file.application.import_path.partition(":")
    missing = [] if hasattr(importlib.import_module(module), name) else [f"serveConfigV2: {module} has no {name!r}."]
    host = file.http_options.host
    local = [] if host == "0.0.0.0" else [f"serveConfigV2: http_options.host: {host!r} is out of reach for others."]
    args = file.application.args
    return missing + local + drain_faults(service, graceful_shutdown_s(file), longest_request_s(args))


def builtin_faults(body: Body) -> list[str]:
    """Against the client's model of the kind; nothing for kinds that Kubernetes does not have itself."""
    from kubernetes import client
    from pydantic import ValidationError

    group, _, version = body["apiVersion"].rpartition("/")
    if "." in group and not group.endswith(".k8s.io"):
        return []
    model = getattr(client, f"{version.capitalize()}{body['kind']}")
    try:
        model.model_validate(body)
    except ValidationError as error:
        return [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
    return [
        f"{where}: {value!r} is no quantity" for where, value in _quantities(body, "") if not QUANTITY.fullmatch(value)
    ]


def ray_pods(service: Body) -> list[Body]:
    """The pod templates of a RayService, as pods that can be checked by themselves."""
    cluster = service["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
    return [{"apiVersion": "v1", "kind": "Pod", **deepcopy(group["template"])} for group in groups]


def crd_faults(body: Body, crds: Path) -> list[str]:
    """Against the schema of a CustomResourceDefinition in a folder; what the schema does not name is refused."""
    from jsonschema import Draft202012Validator

    group, _, version = body["apiVersion"].partition("/")
    schema = _schema(crds / f"{group}_{body['kind'].lower()}s.yaml", version)
    errors = sorted(Draft202012Validator(schema).iter_errors(body), key=lambda error: list(map(str, error.path)))
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors]


@cache
def _schema(path: Path, version: str) -> Body:
    definition = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    [found] = [entry for entry in definition["spec"]["versions"] if entry["name"] == version]
    return dict(_closed(found["schema"]["openAPIV3Schema"], top=True))


def _closed(schema: Any, *, top: bool = False) -> Any:
    """The schema as JSON Schema has it: unknown properties are faults, and what may be both is a number or text."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {
        key: {name: _closed(inner) for name, inner in value.items()} if key == "properties" else _closed(value)
        for key, value in schema.items()
    }
    if schema.get("x-kubernetes-int-or-string"):
        closed = {key: value for key, value in closed.items() if key not in ("type", "anyOf")} | {
            "type": ["integer", "string"]
        }
    open_ = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    # `metadata` at the top is Kubernetes' own, and the CRD does not spell it out.
    if "properties" in schema and not open_:
        closed["additionalProperties"] = False
    if top:
        closed["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    return closed


def _quantities(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Amounts of resources, wherever they stand."""
    if isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _quantities(inner, f"{where}[{number}]")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in ("requests", "limits") and isinstance(inner, dict):
                yield from ((f"{where}.{key}.{name}", str(amount)) for name, amount in inner.items())
            else:
                yield from _quantities(inner, f"{where}.{key}")
