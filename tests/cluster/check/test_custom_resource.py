"""Definitions as JSON Schema; and that the built-in file is what its release comes to."""

import importlib.util
from pathlib import Path

import pytest

from serve_app.cluster.check.custom_resource import json_schema, versions
from tests.cluster.overlays import CRDS, ROOT


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "description": "d", "format": "f", "default": ""}, {"type": "string"}),
        ({"type": "integer", "minimum": 1, "nullable": True}, {"type": ["integer", "null"], "minimum": 1}),
        (
            {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True, "pattern": "p"},
            {"type": ["integer", "string"], "pattern": "p"},
        ),
        (
            {"type": "array", "items": {"type": "string", "description": "d"}},
            {"type": "array", "items": {"type": "string"}},
        ),
        # A property may have the name of a keyword.
        (
            {"type": "object", "properties": {"description": {"type": "string", "description": "d"}}},
            {"type": "object", "properties": {"description": {"type": "string"}}, "additionalProperties": False},
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string", "description": "d"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ),
        (
            {"type": "object", "properties": {}, "x-kubernetes-preserve-unknown-fields": True},
            {"type": "object", "properties": {}},
        ),
    ],
)
def test_what_a_definition_means(schema: dict, expected: dict) -> None:
    assert json_schema(schema) == expected


@pytest.mark.parametrize("text", ["a: [", "kind: Pod", "- 1", ""])
def test_what_is_no_definition(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a CustomResourceDefinition"):
        versions(path)


def test_the_built_in_file_is_what_the_release_comes_to() -> None:
    if not CRDS.is_dir():
        pytest.skip(f"KubeRay's CustomResourceDefinitions are not here: {CRDS}")
    spec = importlib.util.spec_from_file_location("kuberay_schemas", ROOT / "k8s" / "kuberay_schemas.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.OUTPUT.read_text() == script.bundled(CRDS, "1.7.0")
