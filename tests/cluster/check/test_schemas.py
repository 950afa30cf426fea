"""Manifests against schemas and models: the committed ones are valid, and faults put into them are found."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from serve_app.cli.main import app
from serve_app.cluster.check.schemas import builtin_faults, crd_faults, faults, serve_faults
from tests.cluster.kubectl import object_
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


def checked(tmp_path: Path, body: Body, *options: str | Path) -> tuple[int, list[str]]:
    """What `cascade k8s check` ends with, and what a user sees of it."""
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump(body))
    ran = CliRunner().invoke(app, ["k8s", "check", str(path), *map(str, options)], env={"COLUMNS": "200"})
    assert ran.exception is None or isinstance(ran.exception, SystemExit), repr(ran.exception)
    return ran.exit_code, (ran.stdout + ran.stderr.removeprefix("cascade: ")).replace(
        str(path), "all.yaml"
    ).splitlines()


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("v1", "Foo"),
        ("v1", "Deployment"),  # in apps/v1
        ("batch/v1", "Deployment"),
        ("apps/v9", "Deployment"),
        ("extensions/v1beta1", "Ingress"),  # gone since Kubernetes 1.22
        ("networking.k8s.io/v1beta1", "Ingress"),
        ("v1", "PodSpec"),
        ("v1", "RayService"),
    ],
)
def test_kinds_that_kubernetes_has_not_are_said(tmp_path: Path, api_version: str, kind: str) -> None:
    expected = f"{kind}/x: Kubernetes has no kind {kind!r} in {api_version!r}."
    assert checked(tmp_path, object_(api_version, kind, "x", spec={})) == (2, [expected])


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("v1", "Event"),
        ("events.k8s.io/v1", "Event"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
        ("storage.k8s.io/v1", "CSIDriver"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ],
)
def test_kinds_of_kubernetes_own_groups_are_looked_at(tmp_path: Path, api_version: str, kind: str) -> None:
    code, lines = checked(tmp_path, object_(api_version, kind, "x", no_such_field=1))
    assert code == 2
    assert f"{kind}/x: no_such_field: Extra inputs are not permitted" in [
        line.removeprefix("cascade: ") for line in lines
    ]


@pytest.mark.parametrize(
    ("api_version", "kind", "more"),
    [
        ("gateway.networking.k8s.io/v1", "Gateway", ""),
        ("monitoring.coreos.com/v1", "PodMonitor", ""),
        ("apps.example.com/v1", "Deployment", ""),
        ("ray.io/v1", "RayCluster", " --crds names no folder with ray.io_rayclusters.yaml."),
    ],
)
def test_other_kinds_are_skipped_and_that_is_said(tmp_path: Path, api_version: str, kind: str, more: str) -> None:
    assert checked(tmp_path, object_(api_version, kind, "x", spec={"a": 1})) == (
        0,
        [f"{kind}/x: {api_version} {kind} is not known, skipped.{more}", "Nothing in all.yaml could be checked."],
    )


def test_what_is_skipped_is_not_counted(tmp_path: Path) -> None:
    items = [object_("v1", "ConfigMap", "a"), object_("gateway.networking.k8s.io/v1", "HTTPRoute", "b")]
    code, lines = checked(tmp_path, {"apiVersion": "v1", "kind": "List", "items": items})
    assert (code, lines[1]) == (0, "all.yaml is valid: 1 objects.")


HEAD = "spec.rayClusterConfig.headGroupSpec"


@pytest.mark.parametrize("with_crds", [False, True])
@pytest.mark.parametrize(
    ("break_", "without", "with_"),
    [
        (lambda b: b.pop("spec"), "spec: required, but missing.", "spec: required, but missing."),
        (lambda b: b.update(spec=None), "spec: must be a mapping, got null.", "spec: None is not of type 'object'"),
        (lambda b: b.update(spec=[]), "spec: must be a mapping, got list.", "spec: [] is not of type 'object'"),
        (
            lambda b: b["spec"].pop("serveConfigV2"),
            "spec.serveConfigV2: required, but missing.",
            "spec.serveConfigV2: required, but missing.",
        ),
        (
            lambda b: b["spec"].pop("rayClusterConfig"),
            "spec.rayClusterConfig: required, but missing.",
            "spec: 'rayClusterConfig' is a required property",
        ),
        (
            lambda b: cluster(b)["headGroupSpec"].update(template={"spec": {"containers": []}}),
            f"{HEAD}.template.spec.containers: needs at least 1 entry, got 0.",
            f"{HEAD}.template.spec.containers: needs at least 1 entry, got 0.",
        ),
        (
            lambda b: cluster(b)["workerGroupSpecs"][0].pop("minReplicas"),
            "spec.rayClusterConfig.workerGroupSpecs[0].minReplicas: required, but missing.",
            "spec.rayClusterConfig.workerGroupSpecs.0: 'minReplicas' is a required property",
        ),
        (
            lambda b: cluster(b).update(rayVersion=2.6),
            "spec.rayClusterConfig.rayVersion: must be a valid string, got 2.6.",
            "spec.rayClusterConfig.rayVersion: 2.6 is not of type 'string'",
        ),
        (
            lambda b: b["spec"].update(upgradeStrategy=None),
            "spec.upgradeStrategy: must be a mapping, got null.",
            "spec.upgradeStrategy: None is not of type 'object'",
        ),
        (
            lambda b: b.update(apiVersion="ray.io/v9"),
            "apiVersion: must be 'ray.io/v1' or 'ray.io/v1alpha1', got 'ray.io/v9'.",
            "apiVersion: ray.io_rayservices.yaml has no version 'v9'.",
        ),
    ],
)
def test_a_service_of_another_shape_has_that_one_fault(
    tmp_path: Path, crds: Path, with_crds: bool, break_: Callable[[Body], object], without: str, with_: str
) -> None:
    body = deepcopy(service("cpu-demo"))
    break_(body)
    options = ["--crds", crds] if with_crds else []
    assert checked(tmp_path, body, *options) == (2, [f"RayService/cascade: {with_ if with_crds else without}"])


def test_all_of_kuberays_kinds_are_held_against_their_schemas(tmp_path: Path, crds: Path) -> None:
    assert checked(tmp_path, object_("ray.io/v1", "RayCluster", "x", spec={"x": 1}), "--crds", crds) == (
        2,
        [
            "RayCluster/x: spec: 'headGroupSpec' is a required property",
            "RayCluster/x: spec: Additional properties are not allowed ('x' was unexpected)",
        ],
    )
    body = object_("ray.io/v1", "RayCluster", "x", spec=deepcopy(cluster(service("cpu-demo"))))
    assert checked(tmp_path, body, "--crds", crds) == (0, ["all.yaml is valid: 1 objects."])


@pytest.mark.parametrize(
    ("folder", "content", "expected"),
    [
        ("nowhere", None, "--crds: 'nowhere' is no folder."),
        ("empty", "", "--crds: 'empty' has no ray.io_rayservices.yaml."),
        ("wrong", "a: [", "--crds: 'wrong/ray.io_rayservices.yaml' is no CustomResourceDefinition."),
        ("other", "kind: Pod", "--crds: 'other/ray.io_rayservices.yaml' is no CustomResourceDefinition."),
    ],
)
def test_a_folder_without_the_definitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, content: str | None, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(folder).mkdir()
    if content:
        Path(folder, "ray.io_rayservices.yaml").write_text(content)
    assert checked(tmp_path, service("cpu-demo"), "--crds", folder) == (2, [expected])
