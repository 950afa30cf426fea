"""Read manifests from a YAML file, a folder or a kustomization, check them, and sort them into the order to apply."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, TypeAlias

import yaml

from serve_app.config.explain import kind_of
from serve_app.errors import ConfigError

Manifest: TypeAlias = dict[str, Any]
"""A whole object, as YAML and the API server have it."""
Fields: TypeAlias = dict[str, Any]
"""A part of an object: a spec, a status, a pod template."""

ORDER = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "StorageClass",
    "ServiceAccount",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "NetworkPolicy",
    "ResourceQuota",
    "Secret",
    "ConfigMap",
    "PersistentVolumeClaim",
    "Job",
    "Service",
    "Deployment",
    "PodDisruptionBudget",
    "RayCluster",
    "RayService",
)
"""Kinds that others need come first. Kinds that are not listed come last: routes, monitors."""

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
PLAIN_FIELDS = {"apiVersion", "kind", "resources", "namespace"}


class _Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, as the API server does: of the two, one would be lost."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Compose a mapping. Raises `_RepeatedKeyError` for a repeated key, before `<<` adds any."""
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in names:
                raise _RepeatedKeyError(f"duplicate key {key.value!r}, line {key.start_mark.line + 1}")
            names.add((key.tag, key.value))
        return node


class _RepeatedKeyError(Exception):
    """A key that a mapping has twice."""


@dataclass(frozen=True)
class Ref:
    """A reference to an object. `namespace` is None if the manifest names none."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def ref_of(body: Manifest) -> Ref:
    """Return the reference of an object."""
    meta = body["metadata"]
    return Ref(body["apiVersion"], body["kind"], meta["name"], meta.get("namespace"))


def read(path: Path) -> list[Manifest]:
    """Return the objects of a YAML file (`-` is stdin), a folder or a kustomization, in the order to apply.

    Raises `ConfigError` for a document that is not a manifest, with its file and position, and for duplicate objects.
    """
    objects: dict[Ref, Manifest] = {}
    for where, body in _documents(path):
        _check(body, where)
        ref = ref_of(body)
        if ref in objects:
            raise ConfigError(f"{where}: duplicate object {ref}.")
        objects[ref] = body
    if not objects:
        overlays = sorted(str(folder) for folder in path.glob("overlays/*") if folder.is_dir())
        hint = f" Its overlays have: {', '.join(overlays)}." if overlays else ""
        raise ConfigError(f"{path} has no manifests.{hint}")
    return sorted(objects.values(), key=lambda body: (_rank(body["kind"]), body["kind"], body["metadata"]["name"]))


def _rank(kind: str) -> int:
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def _documents(path: Path) -> Iterator[tuple[str, Any]]:
    if str(path) == "-":
        yield from _parsed(sys.stdin.read(), "stdin")
    elif path.is_dir():
        files = [path / name for name in KUSTOMIZATIONS if (path / name).is_file()]
        yield from _kustomized(path, files[0]) if files else _folder(path)
    else:
        yield from _parsed(_text(path), str(path))


def _folder(path: Path) -> Iterator[tuple[str, Any]]:
    for file in sorted([*path.glob("*.yaml"), *path.glob("*.yml")]):
        yield from _parsed(_text(file), str(file))


def _kustomized(folder: Path, file: Path) -> Iterator[tuple[str, Any]]:
    """Yield the documents of a kustomization. Fields other than resources and a namespace are left to kustomize."""
    values = next((body for _, body in _parsed(_text(file), str(file))), None)
    if not isinstance(values, dict):
        raise ConfigError(f"{file} is not a kustomization: must be a mapping with resources, got {kind_of(values)}.")
    if other_fields := sorted(set(values) - PLAIN_FIELDS):
        yield from _parsed(_kustomize(folder, other_fields), str(folder))
        return
    resources = values.get("resources") or []
    if not isinstance(resources, list):
        raise ConfigError(f"{file}: resources must be a list, got {kind_of(resources)}.")
    for resource in resources:
        if "://" in str(resource):
            raise ConfigError(f"{file}: {resource!r} cannot be read: resources must be files or folders, not URLs.")
        for where, body in _documents(folder / str(resource)):
            if "namespace" in values and isinstance(body, dict):
                _set_namespace(body, values["namespace"])
            yield where, body


def _set_namespace(body: Manifest, namespace: str) -> None:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        return  # a fault that `_check` reports
    if body.get("kind") == "Namespace":
        metadata["name"] = namespace
    elif not str(body.get("kind")).startswith(("Cluster", "CustomResource", "PriorityClass", "StorageClass")):
        metadata["namespace"] = namespace


def _kustomize(folder: Path, fields: list[str]) -> str:
    command = next(
        (words for words in (["kustomize", "build"], ["kubectl", "kustomize"]) if shutil.which(words[0])), None
    )
    if command is None:
        raise ConfigError(
            f"{folder} has a kustomization with {', '.join(fields)}, which needs kustomize or kubectl on the PATH. "
            f"On another machine, run kustomize build {quote(str(folder))} > all.yaml, and use all.yaml here."
        )
    built = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    if built.returncode:
        raise ConfigError(f"{' '.join(command)} {folder} failed: {built.stderr.strip()}")
    return built.stdout


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None


def _parsed(text: str, source: str) -> Iterator[tuple[str, Any]]:
    """Yield each document with its position; a `List` counts as its items."""
    try:
        documents = list(yaml.load_all(text, _Loader))
    except _RepeatedKeyError as error:
        raise ConfigError(f"{source} has a {error}.") from None
    except yaml.YAMLError as error:
        # Without the parser's message, which quotes the text around the fault: it may be a Secret's.
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(f"{source} is not YAML{f', line {mark.line + 1}' if mark else ''}.") from None
    except RecursionError:
        raise ConfigError(f"{source} is nested too deeply.") from None
    except (ValueError, LookupError, AttributeError):
        # PyYAML's own, for a date that no calendar has or a tag that does not fit.
        raise ConfigError(f"{source} has a number, a date or a tag that cannot be read.") from None
    for number, body in enumerate(documents, 1):
        if body is None:
            continue
        where = f"{source}, document {number}"
        is_list = isinstance(body, dict) and body.get("kind") == "List" and "items" in body
        items = (body["items"] or []) if is_list else [body]
        if not isinstance(items, list):
            raise ConfigError(f"{where}: the items of a List must be a list, got {kind_of(items)}.")
        yield from ((where, item) for item in items)


def _check(body: Any, where: str) -> None:
    if not isinstance(body, dict):
        raise ConfigError(f"{where}: a manifest must be a mapping, got {kind_of(body)}.")
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    for field, value in (("apiVersion", body.get("apiVersion")), ("kind", body.get("kind")), ("metadata.name", name)):
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{where}: {field} is required and must be text.")
    if not isinstance(body["metadata"].get("namespace"), str | None):
        raise ConfigError(f"{where}: metadata.namespace must be text.")
