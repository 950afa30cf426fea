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

from serve_app.cluster.check.operator_rules import drain_faults, operator_faults
from serve_app.cluster.check.rayservice_model import shape_faults
from serve_app.cluster.manifests import Fields, Manifest, ref_of
from serve_app.cluster.serve_config import graceful_shutdown_s, longest_request_s
from serve_app.config.ray_rules import load
from serve_app.errors import ConfigError

QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
KUBERAY = "ray.io"


def faults(objects: Iterable[Manifest], crds: Path | None = None) -> list[str]:
    """A sentence for each fault of the objects. `crds` is a folder with KubeRay's CustomResourceDefinitions.

    Kinds of Kubernetes itself are held against the models of the `kubernetes` client (extra k8s), which refuse unknown
    fields; KubeRay's against their CRDs; a RayService also against the operator's own rules, and our serving config.
    Other kinds are not known: see `skipped`. ConfigError for a folder without the CRD of a RayService.
    """
    objects = list(objects)
    if crds is not None:
        _check_folder(crds, objects)
    return [f"{ref_of(body)}: {sentence}" for body in objects for sentence in _faults(body, crds)]


def skipped(objects: Iterable[Manifest], crds: Path | None = None) -> list[str]:
    """A sentence for each object of a kind that is not known here."""
    found = []
    for body in objects:
        if not (_is_builtin(body) or _is_service(body) or _has_crd(body, crds)):
            schema = f" --crds names no folder with {_crd_name(body)}." if _group(body) == KUBERAY else ""
            found.append(f"{ref_of(body)}: {body['apiVersion']} {body['kind']} is not known, skipped.{schema}")
    return found


def _faults(body: Manifest, crds: Path | None) -> list[str]:
    if _is_builtin(body):
        return builtin_faults(body)
    found = crd_faults(body, crds) if crds and _has_crd(body, crds) else []
    if not _is_service(body):
        return found
    # What has another shape than expected would only make the further rules stumble.
    return (
        found
        or shape_faults(body)
        or [
            *operator_faults(body),
            *serve_faults(body),
            *(fault for pod in ray_pods(body) for fault in builtin_faults(pod)),
        ]
    )


def serve_faults(service: Manifest) -> list[str]:
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


def builtin_faults(body: Manifest) -> list[str]:
    """Against the client's model of a kind that Kubernetes has itself."""
    from pydantic import ValidationError

    model = _model(body)
    if model is None:
        return [f"Kubernetes has no kind {body['kind']!r} in {body['apiVersion']!r}."]
    try:
        model.model_validate(body)
    except ValidationError as error:
        return [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
    return [
        f"{where}: {value!r} is no quantity" for where, value in _quantities(body, "") if not QUANTITY.fullmatch(value)
    ]


def ray_pods(service: Manifest) -> list[Manifest]:
    """The pod templates of a RayService, as pods that can be checked by themselves."""
    cluster = service["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
    return [{"apiVersion": "v1", "kind": "Pod", **deepcopy(group["template"])} for group in groups]


def crd_faults(body: Manifest, crds: Path) -> list[str]:
    """Against the schema of a CustomResourceDefinition in a folder; what the schema does not name is refused."""
    from jsonschema import Draft202012Validator

    version = body["apiVersion"].partition("/")[2]
    schema = _schema(crds / _crd_name(body), version)
    if schema is None:
        return [f"apiVersion: {_crd_name(body)} has no version {version!r}."]
    errors = sorted(Draft202012Validator(schema).iter_errors(body), key=lambda error: list(map(str, error.path)))
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors]


def _group(body: Manifest) -> str:
    return str(body["apiVersion"]).rpartition("/")[0]


def _is_service(body: Manifest) -> bool:
    return _group(body) == KUBERAY and body["kind"] == "RayService"


def _is_builtin(body: Manifest) -> bool:
    """Whether the group is Kubernetes' own: one without a dot, or one of *.k8s.io that its client has."""
    group = _group(body)
    return "." not in group or (group.endswith(".k8s.io") and _client_api(group) is not None)


def _model(body: Manifest) -> Any:
    """The client's model of a kind that one can make in this very group and version, or None."""
    from kubernetes import client

    group, _, version = body["apiVersion"].rpartition("/")
    version, kind = version.capitalize(), body["kind"]
    made = {re.sub("^create_(namespaced_)?", "", name) for name in dir(_client_api(group, version))}
    if kind.lower() not in {name.replace("_", "") for name in made}:
        return None
    # A few kinds of several groups have the group before their name.
    return getattr(client, f"{version}{kind}", None) or getattr(client, f"{_client_name(group)}{version}{kind}", None)


def _client_api(group: str, version: str = "") -> Any:
    from kubernetes import client

    return getattr(client, f"{_client_name(group)}{version}Api", None)


def _client_name(group: str) -> str:
    """As the client writes it: rbac.authorization.k8s.io is RbacAuthorization there."""
    return "".join(word.capitalize() for word in (group or "core").removesuffix(".k8s.io").split("."))


def _crd_name(body: Manifest) -> str:
    """The file in KubeRay's repository and in its Helm chart."""
    return f"{_group(body)}_{body['kind'].lower()}s.yaml"


def _has_crd(body: Manifest, crds: Path | None) -> bool:
    return _group(body) == KUBERAY and crds is not None and (crds / _crd_name(body)).is_file()


def _check_folder(crds: Path, objects: list[Manifest]) -> None:
    if not crds.is_dir():
        raise ConfigError(f"--crds: {str(crds)!r} is no folder.")
    if missing := sorted({_crd_name(body) for body in objects if _is_service(body) and not _has_crd(body, crds)}):
        raise ConfigError(f"--crds: {str(crds)!r} has no {', '.join(missing)}.")


@cache
def _schema(path: Path, version: str) -> Fields | None:
    """The schema of one version; None if there is no such version."""
    try:
        definition = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        schemas = {entry["name"]: entry["schema"]["openAPIV3Schema"] for entry in definition["spec"]["versions"]}
        return dict(_closed(schemas[version], top=True)) if version in schemas else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        raise ConfigError(f"--crds: {str(path)!r} is no CustomResourceDefinition.") from None


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
