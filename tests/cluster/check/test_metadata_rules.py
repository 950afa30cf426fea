"""Names and labels that the API server would refuse are found without it."""

from copy import deepcopy
from typing import Any

import pytest

from serve_app.cluster.check.faults import faults
from serve_app.cluster.check.metadata_rules import metadata_faults
from tests.cluster.kubectl import object_
from tests.cluster.overlays import CONFIGS, rendered, service


@pytest.mark.parametrize(
    ("api_version", "kind", "name", "longest"),
    [
        ("v1", "ConfigMap", "Settings", 253),
        ("v1", "ConfigMap", "a_b", 253),
        ("v1", "ConfigMap", "a..b", 253),
        ("v1", "ConfigMap", "a" * 254, 253),
        ("batch/v1", "Job", "a" * 64, 63),
    ],
)
def test_names(api_version: str, kind: str, name: str, longest: int) -> None:
    [sentence] = metadata_faults(object_(api_version, kind, name))
    assert sentence == f"metadata.name: {name!r} must be up to {longest} small letters, digits, '-' and '.'."


@pytest.mark.parametrize("kind", ["Namespace", "Service"])
@pytest.mark.parametrize("name", ["my.team", "Team", "a" * 64])
def test_names_that_are_part_of_a_host_name(kind: str, name: str) -> None:
    [sentence] = metadata_faults(object_("v1", kind, name))
    assert sentence.startswith(f"metadata.name: {name!r} must be up to 63 small letters, digits and '-'")


def test_services_begin_with_a_letter() -> None:
    [sentence] = metadata_faults(object_("v1", "Service", "1st"))
    assert sentence.endswith("small letters, digits and '-', beginning with a letter.")
    assert list(metadata_faults(object_("v1", "Namespace", "1st"))) == []


def test_annotations_may_have_capital_domains() -> None:
    body = object_("v1", "ConfigMap", "x")
    body["metadata"]["annotations"] = {"Example.com/a": "any text"}
    assert list(metadata_faults(body)) == []


@pytest.mark.parametrize(
    ("api_version", "kind", "name"),
    [("v1", "ConfigMap", "kube-root-ca.crt"), ("rbac.authorization.k8s.io/v1", "Role", "system:Reader")],
)
def test_names_that_are_taken(api_version: str, kind: str, name: str) -> None:
    assert list(metadata_faults(object_(api_version, kind, name))) == []


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ({"namespace": "a.b"}, "metadata.namespace: 'a.b' must be up to 63 small letters, digits and '-'."),
        ({"labels": {"a b": "c"}}, "metadata.labels: the key 'a b' must be a name of"),
        ({"labels": {"Example.com/a": "c"}}, "metadata.labels: the key 'Example.com/a' must be a name of"),
        ({"labels": {"a": "b" * 64}}, f"metadata.labels: the value '{'b' * 64}' of 'a' must be up to 63"),
        ({"annotations": {"a b": "any text"}}, "metadata.annotations: the key 'a b' must be a name of"),
    ],
)
def test_labels_and_annotations(metadata: dict[str, Any], sentence: str) -> None:
    body = object_("v1", "ConfigMap", "x")
    body["metadata"] |= metadata
    [fault] = metadata_faults(body)
    assert fault.startswith(sentence)


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ({"lables": {}}, "RayService/cascade: metadata.lables: Extra inputs are not permitted"),
        ({"labels": {"a": 1}}, "RayService/cascade: metadata.labels.a: Input should be a valid string"),
    ],
)
def test_the_metadata_of_custom_resources_are_checked(metadata: dict[str, Any], sentence: str) -> None:
    """Their definitions leave it to the API server."""
    body = deepcopy(service("cpu-demo"))
    body["metadata"] |= metadata
    assert faults([body]) == [sentence]


@pytest.mark.parametrize("overlay", CONFIGS)
def test_committed_objects_keep_the_rules(overlay: str) -> None:
    assert [fault for body in rendered(overlay).objects for fault in metadata_faults(body)] == []
