"""Compare KubeRay's objects with its own CustomResourceDefinitions.

Those of release 1.7.0 are in `kuberay.json`, made by k8s/kuberay_schemas.py: RayService, RayCluster and RayJob, as
`ray.io/v1` and `ray.io/v1alpha1`.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_app.cluster.check.custom_resource import versions
from serve_app.cluster.manifests import Fields, Manifest
from serve_app.config.explain import kind_of
from serve_app.errors import ConfigError, choices, counted

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

GROUP = "ray.io"
TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


def has_schema(body: Manifest, crds: Path | None = None) -> bool:
    """Return whether the kind is one of KubeRay's whose definition is built in, or in the folder `crds`."""
    if body["apiVersion"].rpartition("/")[0] != GROUP:
        return False
    kind = body["kind"]
    return any(name.endswith(f"/{kind}") for name in _built_in()) or bool(crds and (crds / file_name(kind)).is_file())


def schema_faults(body: Manifest, crds: Path | None = None) -> list[str]:
    """Return a sentence for each fault of an object that has a schema: wrong types, unknown and missing fields.

    A definition in the folder `crds` is used in place of the built-in one. Raises `ConfigError` if it cannot be read.
    """
    if faults := list(_beyond_json(body, ())):
        return faults
    schemas = _schemas(body["kind"], crds)
    if body["apiVersion"] not in schemas:
        available = choices(body["apiVersion"], schemas)
        return [f"apiVersion: {body['kind']} has no version {body['apiVersion']!r}. {available}"]
    from jsonschema_rs import Draft202012Validator

    schema = schemas[body["apiVersion"]]
    errors = sorted(
        Draft202012Validator(schema).iter_errors(body), key=lambda error: list(map(str, error.instance_path))
    )
    return [sentence for error in errors for sentence in _sentences(error, schema)]


def file_name(kind: str) -> str:
    """Return the name of a definition's file in KubeRay's repository and in its Helm chart."""
    return f"{GROUP}_{kind.lower()}s.yaml"


def _schemas(kind: str, crds: Path | None) -> dict[str, Fields]:
    """Return the schemas of a kind by `apiVersion`."""
    path = crds / file_name(kind) if crds else None
    if path is None or not path.is_file():
        return {name.removesuffix(f"/{kind}"): s for name, s in _built_in().items() if name.endswith(f"/{kind}")}
    try:
        return {f"{GROUP}/{version}": schema for version, schema in _read(path).items()}
    except (OSError, ValueError):
        raise ConfigError(f"--crds: {str(path)!r} is not a CustomResourceDefinition.") from None


@cache
def _read(path: Path) -> dict[str, Fields]:
    return versions(path)


@cache
def _built_in() -> dict[str, Fields]:
    """Return the built-in schemas by `apiVersion/kind`, each with the definitions that they share."""
    bundle = json.loads(Path(__file__).with_name("kuberay.json").read_text(encoding="utf-8"))
    return {name: schema | {"$defs": bundle["$defs"]} for name, schema in bundle["schemas"].items()}


def _beyond_json(value: Any, path: tuple[str | int, ...]) -> Iterator[str]:
    """Yield a sentence for each key and value that YAML has and JSON has not."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                yield f"{_dotted(path)}: the key {key!r} must be text; put it in quotes."
            else:
                yield from _beyond_json(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _beyond_json(inner, (*path, index))
    elif isinstance(value, date):
        yield f"{_dotted(path)}: must be text, got the date {value}; put it in quotes."
    elif not isinstance(value, str | int | float | None) or value in (float("inf"), -float("inf")) or value != value:
        yield f"{_dotted(path)}: {type(value).__name__} {value!r} is not a value that JSON has."


def _sentences(error: "ValidationError", schema: Fields) -> list[str]:
    from jsonschema_rs import ValidationErrorKind as Kind

    path, kind = error.instance_path, error.kind
    where = _dotted(path)
    if isinstance(kind, Kind.Required):
        return [f"{_dotted([*path, kind.property])}: required, but missing."]
    if isinstance(kind, Kind.AdditionalProperties):
        available = _node(schema, path).get("properties", {})
        return [f"{_dotted([*path, name])}: unknown key. {choices(name, available)}" for name in kind.unexpected]
    if isinstance(kind, Kind.Type):
        return [f"{where}: must be {' or '.join(TYPES[name] for name in kind.types)}, got {_shown(error.instance)}."]
    if isinstance(kind, Kind.MinItems):
        least = counted(kind.limit, "entry", "entries")
        return [f"{where}: needs at least {least}, got {len(_as_list(error.instance))}."]
    if isinstance(kind, Kind.Enum):
        allowed = map(str, _node(schema, path)["enum"])
        return [f"{where}: unknown value {error.instance!r}. {choices(str(error.instance), allowed)}"]
    if isinstance(kind, Kind.Pattern) and isinstance(_node(schema, path)["type"], list):
        return [f"{where}: {error.instance!r} is not a quantity, such as 500m or 16Gi."]
    return [f"{where}: {error.message}."]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _node(schema: Fields, path: Sequence[str | int]) -> Fields:
    """Return the part of the schema that describes what is at a path."""
    node = _resolved(schema, schema)
    for step in path:
        if isinstance(step, int):
            node = _resolved(node["items"], schema)
        else:
            node = _resolved(node.get("properties", {}).get(step) or node["additionalProperties"], schema)
    return node


def _resolved(node: Fields, schema: Fields) -> Fields:
    return schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return repr(value) if isinstance(value, str | int | float) else kind_of(value)


def _dotted(path: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".") or "the manifest"
