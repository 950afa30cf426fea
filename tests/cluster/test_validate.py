"""Manifests against schemas and models: the committed ones are valid, and faults put into them are found."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from serve_app.cluster.validate import builtin_faults, crd_faults, faults, serve_faults
from tests.cluster.overlays import CONFIGS, CRDS, rendered, service

Body = dict[str, Any]


@pytest.fixture
def crds() -> Path:
    if not CRDS.is_dir():
        pytest.skip(f"KubeRay's CustomResourceDefinitions are not here: {CRDS}")
    return CRDS


@pytest.mark.parametrize("overlay", CONFIGS)
def test_committed_overlays_are_valid(overlay: str) -> None:
    assert faults(rendered(overlay).objects) == []


@pytest.mark.parametrize("overlay", CONFIGS)
def test_services_keep_the_schema(overlay: str, crds: Path) -> None:
    assert crd_faults(service(overlay), crds) == []


def cluster(body: Body) -> Body:
    return body["spec"]["rayClusterConfig"]


@pytest.mark.parametrize(
    ("break_", "sentence"),
    [
        (lambda b: b["spec"].update(serveConfig=""), "spec: Additional properties are not allowed ('serveConfig'"),
        (lambda b: cluster(b).update(rayVersion=2.6), "rayVersion: 2.6 is not of type 'string'"),
        (lambda b: cluster(b)["workerGroupSpecs"][0].pop("maxReplicas"), "'maxReplicas' is a required property"),
        (lambda b: cluster(b)["autoscalerOptions"].update(version="v3"), "'v3' is not one of ['v1', 'v2']"),
        (
            lambda b: cluster(b)["headGroupSpec"]["template"]["spec"]["containers"][0].update(volumeMount=[]),
            "('volumeMount' was unexpected)",
        ),
        (lambda b: cluster(b)["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}), "num-cpus: 0 is not of type"),
    ],
)
def test_schema_faults_are_found(break_: Callable[[Body], object], sentence: str, crds: Path) -> None:
    body = deepcopy(service("cpu-demo"))
    break_(body)
    [found] = crd_faults(body, crds)
    assert sentence in found


def built_in(kind: str) -> Body:
    return deepcopy(next(body for body in rendered("paper-70b").objects if body["kind"] == kind))


@pytest.mark.parametrize(
    ("kind", "break_", "sentence"),
    [
        ("PodDisruptionBudget", lambda b: b["spec"].update(minavailable=1), "spec.minavailable: Extra inputs are not"),
        ("Job", lambda b: b["spec"].update(backoffLimit="many"), "spec.backoffLimit: "),
        ("Job", lambda b: b["spec"].pop("template"), "spec.template: Field required"),
        ("NetworkPolicy", lambda b: b["spec"].update(podselector={}), "spec.podselector: Extra inputs"),
        ("Ingress", lambda b: b["spec"].update(host="a"), "spec.host: Extra inputs"),
        (
            "PersistentVolumeClaim",
            lambda b: b["spec"]["resources"]["requests"].update(storage="10 GB"),
            ".spec.resources.requests.storage: '10 GB' is no quantity",
        ),
    ],
)
def test_faults_in_built_in_kinds_are_found(kind: str, break_: Callable[[Body], object], sentence: str) -> None:
    body = built_in(kind)
    assert builtin_faults(body) == []
    break_(body)
    [found] = builtin_faults(body)
    assert found.startswith(sentence)


def test_pods_inside_the_service_are_looked_at() -> None:
    body = deepcopy(service("cpu-demo"))
    cluster(body)["workerGroupSpecs"][0]["template"]["spec"]["toleration"] = []
    assert faults([body]) == ["RayService/cascade: spec.toleration: Extra inputs are not permitted"]


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("threshold: 0.7017", "treshold: 0.7017", "serveConfigV2: applications[0].args.cascades.default.tiers[0]"),
        ("build_app", "build_apps", "serveConfigV2: applications[0].import_path"),
        ("host: 0.0.0.0", "host: 127.0.0.1", "serveConfigV2: http_options.host: '127.0.0.1' is out of reach"),
        ("proxy_location", "proxy_locations", "serveConfigV2: proxy_locations: unknown key"),
    ],
)
def test_the_serving_config_is_read_strictly(before: str, after: str, sentence: str) -> None:
    body = deepcopy(service("cpu-demo"))
    body["spec"]["serveConfigV2"] = body["spec"]["serveConfigV2"].replace(before, after)
    assert serve_faults(body)[0].startswith(sentence)
