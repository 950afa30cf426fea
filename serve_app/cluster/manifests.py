"""Manifests as people keep them: a YAML file, a folder, a kustomization; read, checked, put in the order to apply."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

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
"""What others need comes first. Kinds that are not here come last: routes, monitors."""

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
PLAIN_FIELDS = {"apiVersion", "kind", "resources", "namespace"}


@dataclass(frozen=True)
class Ref:
    """Which object. `namespace` is None where the manifest names none: the context's, or none at all."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def ref_of(body: Manifest) -> Ref:
    """The reference of a whole object."""
    meta = body["metadata"]
    return Ref(body["apiVersion"], body["kind"], meta["name"], meta.get("namespace"))


def read(path: Path) -> list[Manifest]:
    """The objects of a YAML file (`-` is stdin), of a folder's YAML files, or of a kustomization, in order to apply.

    Raises `ConfigError` for what is no manifest, named with its file and place, and for an object given twice.
    """
    objects: dict[Ref, Manifest] = {}
    for where, body in _documents(path):
        _check(body, where)
        ref = ref_of(body)
        if ref in objects:
            raise ConfigError(f"{where}: {ref} is there twice.")
        objects[ref] = body
    if not objects:
        raise ConfigError(f"{path} has no manifests.")
    return sorted(objects.values(), key=lambda body: (_rank(body["kind"]), body["kind"], body["metadata"]["name"]))


def _rank(kind: str) -> int:
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def _documents(path: Path) -> Iterator[tuple[str, Any]]:
    if str(path) == "-":
        yield from _parsed(sys.stdin.read(), "stdin")
    elif path.is_dir():
        named = [path / name for name in KUSTOMIZATIONS if (path / name).is_file()]
        yield from _kustomized(path, named[0]) if named else _folder(path)
    else:
        yield from _parsed(_text(path), str(path))


def _folder(path: Path) -> Iterator[tuple[str, Any]]:
    for file in sorted([*path.glob("*.yaml"), *path.glob("*.yml")]):
        yield from _parsed(_text(file), str(file))


def _kustomized(folder: Path, file: Path) -> Iterator[tuple[str, Any]]:
    """Resources and a namespace are put together here; all else that kustomize can do is kustomize's."""
    values = next((body for _, body in _parsed(_text(file), str(file))), None)
    if not isinstance(values, dict):
        raise ConfigError(f"{file} is no kustomization: a mapping with resources is expected.")
    if further := sorted(set(values) - PLAIN_FIELDS):
        yield from _parsed(_kustomize(folder, further), str(folder))
        return
    resources = values.get("resources") or []
    if not isinstance(resources, list):
        raise ConfigError(f"{file}: resources are a list, not {type(resources).__name__}.")
    for resource in resources:
        if "://" in str(resource):
            raise ConfigError(f"{file}: {resource!r} is not fetched; only files and folders are.")
        for where, body in _documents(folder / str(resource)):
            if "namespace" in values and isinstance(body, dict):
                _set_namespace(body, values["namespace"])
            yield where, body


def _set_namespace(body: Manifest, namespace: str) -> None:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        return  # which is a fault of its own, found where all bodies are checked
    if body.get("kind") == "Namespace":
        metadata["name"] = namespace
    elif not str(body.get("kind")).startswith(("Cluster", "CustomResource", "PriorityClass", "StorageClass")):
        metadata["namespace"] = namespace


def _kustomize(folder: Path, further: list[str]) -> str:
    command = next(
        (words for words in (["kustomize", "build"], ["kubectl", "kustomize"]) if shutil.which(words[0])), None
    )
    if command is None:
        raise ConfigError(
            f"{folder} has a kustomization with {', '.join(further)}, which needs kustomize or kubectl on the PATH. "
            f"Elsewhere: kustomize build {folder} > all.yaml, then give all.yaml."
        )
    built = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    if built.returncode:
        raise ConfigError(f"{' '.join(command)} {folder} failed: {built.stderr.strip()}")
    return built.stdout


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} is not there.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None


def _parsed(text: str, source: str) -> Iterator[tuple[str, Any]]:
    """Documents with where they are; a `List` counts as its items."""
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        # Never the parser's own words: they quote the text around, which may be a Secret's.
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(f"{source} is not YAML{f', line {mark.line + 1}' if mark else ''}.") from None
    for number, body in enumerate(documents, 1):
        if body is None:
            continue
        where = f"{source}, document {number}"
        is_list = isinstance(body, dict) and body.get("kind") == "List" and "items" in body
        items = (body["items"] or []) if is_list else [body]
        if not isinstance(items, list):
            raise ConfigError(f"{where}: the items of a List are a list, not {type(items).__name__}.")
        yield from ((where, item) for item in items)


def _check(body: Any, where: str) -> None:
    if not isinstance(body, dict):
        raise ConfigError(f"{where}: a manifest is a mapping, not {type(body).__name__}.")
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    for field, value in (("apiVersion", body.get("apiVersion")), ("kind", body.get("kind")), ("metadata.name", name)):
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{where}: {field} is missing or no text.")
    if not isinstance(body["metadata"].get("namespace"), str | None):
        raise ConfigError(f"{where}: metadata.namespace is no text.")
