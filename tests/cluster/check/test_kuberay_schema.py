"""KubeRay's objects against its definitions: the built-in ones say the same as those of a folder."""

from collections.abc import Callable
from copy import deepcopy
from datetime import date
from pathlib import Path

import pytest

from serve_app.cluster.check.kuberay_schema import has_schema, schema_faults
from serve_app.cluster.manifests import Manifest
from tests.cluster.kubectl import object_
from tests.cluster.overlays import CONFIGS, CRDS, service

HEAD = "spec.rayClusterConfig.headGroupSpec"
WORKERS = "spec.rayClusterConfig.workerGroupSpecs[0]"


@pytest.fixture(params=["built-in", "folder"])
def crds(request: pytest.FixtureRequest) -> Path | None:
    if request.param == "built-in":
        return None
    if not CRDS.is_dir():
        pytest.skip(f"KubeRay's CustomResourceDefinitions are not here: {CRDS}")
    return CRDS


@pytest.mark.parametrize("overlay", CONFIGS)
def test_committed_services_keep_the_schema(overlay: str, crds: Path | None) -> None:
    assert schema_faults(service(overlay), crds) == []


def cluster(body: Manifest) -> Manifest:
    return body["spec"]["rayClusterConfig"]


def head(body: Manifest) -> Manifest:
    return cluster(body)["headGroupSpec"]


def container(body: Manifest) -> Manifest:
    return head(body)["template"]["spec"]["containers"][0]


BREAKS: list[tuple[Callable[[Manifest], object], str]] = [
    (lambda b: b["spec"].update(serveConfig=""), "spec.serveConfig: unknown key. Did you mean 'serveConfigV2'? "),
    (lambda b: container(b).update(volumeMount=[]), f"{HEAD}.template.spec.containers[0].volumeMount: unknown key. "),
    (lambda b: cluster(b).update(rayVersion=2.6), "spec.rayClusterConfig.rayVersion: must be text, got 2.6."),
    (lambda b: head(b)["rayStartParams"].update({"num-cpus": 0}), f"{HEAD}.rayStartParams.num-cpus: must be text, "),
    (lambda b: b.update(spec=None), "spec: must be a mapping, got null."),
    (lambda b: b.update(spec=[]), "spec: must be a mapping, got a list."),
    (lambda b: b["spec"].update(upgradeStrategy=None), "spec.upgradeStrategy: must be a mapping, got null."),
    (
        lambda b: cluster(b)["autoscalerOptions"].update(version="v3"),
        "spec.rayClusterConfig.autoscalerOptions.version: unknown value 'v3'. Available: v1, v2.",
    ),
    (
        lambda b: container(b)["resources"]["limits"].update(memory="10 GB"),
        f"{HEAD}.template.spec.containers[0].resources.limits.memory: '10 GB' is not a quantity, such as ",
    ),
    (lambda b: b.pop("spec"), "spec: required, but missing."),
    (lambda b: b["spec"].pop("serveConfigV2"), "spec.serveConfigV2: required, but missing."),
    (lambda b: b["spec"].pop("rayClusterConfig"), "spec.rayClusterConfig: required, but missing."),
    (lambda b: head(b).pop("template"), f"{HEAD}.template: required, but missing."),
    (lambda b: head(b).update(template={}), f"{HEAD}.template.spec: required, but missing."),
    (
        lambda b: head(b).update(template={"spec": {"containers": []}}),
        f"{HEAD}.template.spec.containers: needs at least 1 entry, got 0.",
    ),
    (lambda b: cluster(b)["workerGroupSpecs"][0].pop("minReplicas"), f"{WORKERS}.minReplicas: required, but missing."),
    (lambda b: cluster(b)["workerGroupSpecs"][0].pop("maxReplicas"), f"{WORKERS}.maxReplicas: required, but missing."),
    (lambda b: b.update(apiVersion="ray.io/v9"), "apiVersion: RayService has no version 'ray.io/v9'. Did you mean "),
    (
        lambda b: b["metadata"].update(annotations={"made": date(2026, 1, 1)}),
        "metadata.annotations.made: must be text, got the date 2026-01-01; put it in quotes.",
    ),
    (
        lambda b: b["metadata"].update(labels={1: "a"}),
        "metadata.labels: the key 1 must be text; put it in quotes.",
    ),
    (
        lambda b: b["spec"].update(rayClusterDeletionDelaySeconds=float("nan")),
        "spec.rayClusterDeletionDelaySeconds: float nan is not a value that JSON has.",
    ),
]


@pytest.mark.parametrize(("break_", "sentence"), BREAKS, ids=[sentence for _, sentence in BREAKS])
def test_a_service_of_another_shape_has_that_one_fault(
    break_: Callable[[Manifest], object], sentence: str, crds: Path | None
) -> None:
    body = deepcopy(service("cpu-demo"))
    break_(body)
    [fault] = schema_faults(body, crds)
    assert fault.startswith(sentence)


@pytest.mark.parametrize("api_version", ["ray.io/v1", "ray.io/v1alpha1"])
@pytest.mark.parametrize("kind", ["RayService", "RayCluster", "RayJob"])
def test_kuberays_kinds_are_built_in(api_version: str, kind: str) -> None:
    body = object_(api_version, kind, "x", spec={"x": 1})
    assert has_schema(body)
    assert any(fault.startswith("spec.x: unknown key. Available: ") for fault in schema_faults(body))


def test_a_cluster_keeps_the_schema_of_its_own(crds: Path | None) -> None:
    body = object_("ray.io/v1", "RayCluster", "x", spec=deepcopy(cluster(service("cpu-demo"))))
    assert schema_faults(body, crds) == []
    del body["spec"]["headGroupSpec"]
    assert schema_faults(body, crds) == ["spec.headGroupSpec: required, but missing."]


def test_a_kind_without_a_definition_has_no_schema(tmp_path: Path) -> None:
    assert not has_schema(object_("ray.io/v1", "RayCronJob", "x"))
    assert not has_schema(object_("example.com/v1", "RayService", "x"))
    (tmp_path / "ray.io_raycronjobs.yaml").touch()
    assert has_schema(object_("ray.io/v1", "RayCronJob", "x"), tmp_path)
