"""Read a CustomResourceDefinition's schema as plain JSON Schema, which says all that it means without Kubernetes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from serve_app.cluster.manifests import Fields

KEYWORDS = (
    "enum",
    "maximum",
    "maxItems",
    "maxLength",
    "minimum",
    "minItems",
    "minLength",
    "pattern",
    "required",
    "type",
)
"""Keywords that are the same in both. Descriptions, formats and defaults are left out: a check has no use for them."""


def versions(path: Path) -> dict[str, Fields]:
    """Return the JSON Schema of each version that a CustomResourceDefinition defines.

    Raises `OSError` or `ValueError` if the file cannot be read, or holds something else.
    """
    try:
        definition = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        kind = definition["spec"]["names"]["kind"]
        entries = {entry["name"]: entry["schema"]["openAPIV3Schema"] for entry in definition["spec"]["versions"]}
        return {name: _whole(kind, schema) for name, schema in entries.items()}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} is not a CustomResourceDefinition") from None


def _whole(kind: str, schema: Fields) -> Fields:
    whole: Fields = json_schema(schema)
    # The API server itself knows `metadata`, so definitions do not spell it out.
    whole["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    whole["required"] = ["apiVersion", "kind", "metadata", "spec"]
    if kind == "RayService":
        # Optional by the definition (in v1alpha1 both), but without them a RayService serves nothing.
        spec = whole["properties"]["spec"]
        spec["required"] = sorted({*spec.get("required", []), "rayClusterConfig", "serveConfigV2"})
    return whole


def json_schema(schema: Fields) -> Fields:
    """Return the JSON Schema of a part of a definition. Properties that it does not name are faults, as in `Strict`."""
    plain: Fields = {name: schema[name] for name in KEYWORDS if name in schema}
    if schema.get("x-kubernetes-int-or-string"):
        plain["type"] = ["integer", "string"]
    if schema.get("nullable"):
        plain["type"] = [plain["type"], "null"]
    if "items" in schema:
        plain["items"] = json_schema(schema["items"])
    if "properties" in schema:
        plain["properties"] = {name: json_schema(part) for name, part in schema["properties"].items()}
        plain |= dict(_of_pods(plain))
    if isinstance(schema.get("additionalProperties"), dict):
        plain["additionalProperties"] = json_schema(schema["additionalProperties"])
    elif "properties" in schema and not _is_open(schema):
        plain["additionalProperties"] = False
    return plain


def _is_open(schema: Fields) -> bool:
    return bool(schema.get("additionalProperties") or schema.get("x-kubernetes-preserve-unknown-fields"))


def _of_pods(plain: Fields) -> Iterator[tuple[str, Any]]:
    """Yield what the API server demands of every pod and its template although no definition states it."""
    properties = plain["properties"]
    if "containers" in properties and "restartPolicy" in properties:
        yield "properties", properties | {"containers": properties["containers"] | {"minItems": 1}}
    if "containers" in properties.get("spec", {}).get("properties", {}):
        yield "required", sorted({*plain.get("required", []), "spec"})
