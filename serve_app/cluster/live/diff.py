"""Show what an apply would change: a diff of YAML between the live object and the server's own dry run."""

import difflib
from typing import Any

import yaml

from serve_app.cluster.manifests import Fields, Manifest

BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
CONTEXT_LINES = 2


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, so that the diff shows the lines that differ."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def differs(live: Manifest, result: Manifest) -> bool:
    """Return whether anything but the server's bookkeeping and the status is different."""
    return _compared(live) != _compared(result)


def diff(live: Manifest | None, result: Manifest) -> list[str]:
    """Return the lines that would be removed (-) or added (+), with two lines around them; empty if nothing changes.

    A Secret's values are replaced by words that say only whether they differ.
    """
    before, after = _compared(live) if live else {}, _compared(result)
    if result["kind"] == "Secret":
        before, after = _hidden_values(before, after)
    lines = difflib.unified_diff(_lines(before), _lines(after), lineterm="", n=CONTEXT_LINES)
    return [line for line in lines if not line.startswith(("---", "+++"))]


def _compared(body: Manifest) -> Manifest:
    metadata = {name: value for name, value in body["metadata"].items() if name not in BOOKKEEPING}
    if annotations := {k: v for k, v in (metadata.pop("annotations", None) or {}).items() if k != LAST_APPLIED}:
        metadata["annotations"] = annotations
    return {name: value for name, value in body.items() if name != "status"} | {"metadata": metadata}


def _hidden_values(before: Manifest, after: Manifest) -> tuple[Fields, Fields]:
    before, after = dict(before), dict(after)
    for field in ("data", "stringData"):
        old, new = before.get(field) or {}, after.get(field) or {}
        for body, values, compared in ((before, old, new), (after, new, old)):
            if values:
                body[field] = {key: _hidden(value, compared.get(key), body is after) for key, value in values.items()}
    return before, after


def _hidden(value: Any, counterpart: Any, is_new: bool) -> str:
    return "(hidden)" if value == counterpart else f"(hidden, {'new' if is_new else 'old'} value)"


def _lines(body: Manifest) -> list[str]:
    return yaml.dump(body, Dumper=_Dumper, width=1000, allow_unicode=True).splitlines() if body else []
