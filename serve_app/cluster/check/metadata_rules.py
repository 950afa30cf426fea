"""Rules of the API server for names and labels, which neither schemas nor the client's models have."""

import re
from collections.abc import Iterator, Mapping

from serve_app.cluster.manifests import Manifest

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(rf"{LABEL.pattern}(\.{LABEL.pattern})*")
WORD = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
SHORT_NAMED = ("Job", "Namespace", "Service")
"""Kinds whose name becomes a label or a host name."""
FREELY_NAMED = "rbac.authorization.k8s.io/"
"""The group whose names may be any part of a path."""


def metadata_faults(body: Manifest) -> Iterator[str]:
    """Yield a sentence for each name, label and annotation that the API server would refuse."""
    metadata = body["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace")
    longest = LABEL_LENGTH if body["kind"] in SHORT_NAMED else SUBDOMAIN_LENGTH
    if not body["apiVersion"].startswith(FREELY_NAMED) and not _fits(SUBDOMAIN, name, longest):
        yield f"metadata.name: {name!r} must be up to {longest} small letters, digits, '-' and '.'."
    if namespace is not None and not is_label(namespace):
        yield f"metadata.namespace: {namespace!r} must be up to {LABEL_LENGTH} small letters, digits and '-'."
    yield from (f"metadata.labels: {sentence}" for sentence in label_faults(metadata.get("labels") or {}))
    for key in metadata.get("annotations") or {}:
        if not _is_key(key):
            yield f"metadata.annotations: {_KEY_RULE.format(key)}"


def label_faults(labels: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each label whose key or value is malformed."""
    for key, value in labels.items():
        if not _is_key(key):
            yield _KEY_RULE.format(key)
        if value and not _fits(WORD, value, LABEL_LENGTH):
            yield (
                f"the value {value!r} of {key!r} must be up to {LABEL_LENGTH} letters, digits, '-', '_' and '.', "
                "with a letter or digit at both ends."
            )


def is_label(name: str) -> bool:
    """Return whether a name is one that a namespace, a container or a volume may have."""
    return _fits(LABEL, name, LABEL_LENGTH)


_KEY_RULE = (
    "the key {!r} must be a name of letters, digits, '-', '_' and '.', up to 63, after a domain and '/' if it has any."
)


def _is_key(key: str) -> bool:
    domain, slash, name = key.rpartition("/")
    return _fits(WORD, name, LABEL_LENGTH) and (not slash or _fits(SUBDOMAIN, domain, SUBDOMAIN_LENGTH))


def _fits(pattern: re.Pattern[str], text: str, longest: int) -> bool:
    return len(text) <= longest and pattern.fullmatch(text) is not None
