"""Compares objects of Kubernetes' own kinds with the models of its client."""

import re
from collections.abc import Iterator
from typing import Any

from serve_app.cluster.manifests import Manifest

QUANTITY = re.compile(r"\+?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")


def is_builtin(body: Manifest) -> bool:
    """Return whether the group is Kubernetes' own: one without a dot, or one of *.k8s.io that its client has."""
    group = body["apiVersion"].rpartition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and _client_api(group) is not None)


def builtin_faults(body: Manifest) -> list[str]:
    """Return a sentence for each field that the client's model refuses, and for each quantity that is malformed."""
    name = _model(body)
    if name is None:
        return [f"Kubernetes has no kind {body['kind']!r} in {body['apiVersion']!r}."]
    return type_faults(name, body) or [
        f"{path}: {value!r} is not a quantity, such as 500m or 16Gi."
        for path, value in _quantities(body, "")
        if not QUANTITY.fullmatch(value)
    ]


def type_faults(model: str, value: Any, path: str = "") -> list[str]:
    """Return a sentence for each field of `value`, which is at `path`, that the client's model refuses."""
    from kubernetes import client
    from pydantic import ValidationError

    try:
        getattr(client, model).model_validate(value)
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, (*filter(None, [path]), *item['loc'])))}: {item['msg']}" for item in error.errors()
        ]
    return []


def _model(body: Manifest) -> str | None:
    """Return the name of the client's model of a kind that can be created in this group and version, or None."""
    from kubernetes import client

    group, _, version = body["apiVersion"].rpartition("/")
    version, kind = version.capitalize(), body["kind"]
    creatable = {re.sub("^create_(namespaced_)?", "", name) for name in dir(_client_api(group, version))}
    if kind.lower() not in {name.replace("_", "") for name in creatable}:
        return None
    # A few kinds that several groups have come with the group before their name.
    names = (f"{version}{kind}", f"{_client_name(group)}{version}{kind}")
    return next((name for name in names if hasattr(client, name)), None)


def _client_api(group: str, version: str = "") -> Any:
    from kubernetes import client

    return getattr(client, f"{_client_name(group)}{version}Api", None)


def _client_name(group: str) -> str:
    """Return the group as the client writes it, such as RbacAuthorization for rbac.authorization.k8s.io."""
    return "".join(word.capitalize() for word in (group or "core").removesuffix(".k8s.io").split("."))


def _quantities(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield path and amount of each resource that is requested or limited, at any depth."""
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _quantities(inner, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in ("requests", "limits") and isinstance(inner, dict):
                yield from ((f"{path}.{key}.{name}".lstrip("."), str(amount)) for name, amount in inner.items())
            else:
                yield from _quantities(inner, f"{path}.{key}")
