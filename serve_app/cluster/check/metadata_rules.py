"""Rules of the API server for names and labels, which neither schemas nor the client's models have."""

from collections.abc import Iterator, Mapping

from serve_app.cluster.manifests import Manifest
from serve_app.cluster.names import (
    LABEL_LENGTH,
    SUBDOMAIN_LENGTH,
    is_label,
    is_label_key,
    is_label_value,
    is_subdomain,
)

LABEL_NAMED = ("Namespace", "Service")
"""Kinds whose name is a label: part of a host name."""
FREELY_NAMED = "rbac.authorization.k8s.io/"
"""The group whose names may be any part of a path."""
KEY_RULE = (
    "the key {!r} must be a name of letters, digits, '-', '_' and '.', up to 63, after a domain and '/' if it has any."
)


def metadata_faults(body: Manifest) -> Iterator[str]:
    """Yield a sentence for each name, label and annotation that the API server would refuse."""
    metadata = body["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace")
    longest = LABEL_LENGTH if body["kind"] == "Job" else SUBDOMAIN_LENGTH  # its pods have it as a label
    if body["kind"] in LABEL_NAMED:
        if not is_label(name) or (body["kind"] == "Service" and name[0].isdigit()):
            begin = ", beginning with a letter" if body["kind"] == "Service" else ""
            yield f"metadata.name: {name!r} must be up to {LABEL_LENGTH} small letters, digits and '-'{begin}."
    elif not body["apiVersion"].startswith(FREELY_NAMED) and not (is_subdomain(name) and len(name) <= longest):
        yield f"metadata.name: {name!r} must be up to {longest} small letters, digits, '-' and '.'."
    if namespace is not None and not is_label(namespace):
        yield f"metadata.namespace: {namespace!r} must be up to {LABEL_LENGTH} small letters, digits and '-'."
    yield from (f"metadata.labels: {sentence}" for sentence in label_faults(metadata.get("labels") or {}))
    for key in metadata.get("annotations") or {}:
        if not is_label_key(key.lower()):  # as the API server reads them
            yield f"metadata.annotations: {KEY_RULE.format(key)}"


def label_faults(labels: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each label whose key or value is malformed."""
    for key, value in labels.items():
        if not is_label_key(key):
            yield KEY_RULE.format(key)
        if not is_label_value(value):
            yield (
                f"the value {value!r} of {key!r} must be up to {LABEL_LENGTH} letters, digits, '-', '_' and '.', "
                "with a letter or digit at both ends."
            )
