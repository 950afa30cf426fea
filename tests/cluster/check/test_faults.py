"""Manifests against schemas and models: the committed ones are valid, and faults put into them are found."""

from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from serve_app.cli.commands import app
from serve_app.cluster.check.faults import faults, serve_faults
from serve_app.cluster.manifests import Manifest
from tests.cluster.kubectl import object_
from tests.cluster.overlays import CONFIGS, rendered, service


@pytest.mark.parametrize("overlay", CONFIGS)
def test_committed_overlays_are_valid(overlay: str) -> None:
    assert faults(rendered(overlay).objects) == []


def cluster(body: Manifest) -> Manifest:
    return body["spec"]["rayClusterConfig"]


def test_pods_inside_the_service_are_checked() -> None:
    body = deepcopy(service("cpu-demo"))
    cluster(body)["workerGroupSpecs"][0]["template"]["spec"]["toleration"] = []
    [sentence] = faults([body])
    where = "spec.rayClusterConfig.workerGroupSpecs[0].template.spec.toleration"
    assert sentence.startswith(f"RayService/cascade: {where}: unknown key. Did you mean 'tolerations'?")


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


def checked(tmp_path: Path, body: Manifest, *options: str | Path) -> tuple[int, list[str]]:
    """Return the exit code of `cascade k8s check` and its output."""
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
        ("ray.io/v1", "RayCronJob", " --crds names no folder with ray.io_raycronjobs.yaml."),
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
    assert (code, lines[1]) == (0, "all.yaml is valid: 1 object.")


@pytest.mark.parametrize(
    ("folder", "content", "expected"),
    [
        ("nowhere", None, "--crds: 'nowhere' is not a folder."),
        ("empty", "", "--crds: 'empty' has no ray.io_rayservices.yaml."),
        ("wrong", "a: [", "--crds: 'wrong/ray.io_rayservices.yaml' is not a CustomResourceDefinition."),
        ("other", "kind: Pod", "--crds: 'other/ray.io_rayservices.yaml' is not a CustomResourceDefinition."),
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
