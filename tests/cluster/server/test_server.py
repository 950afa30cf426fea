"""`cascade k8s apply`, `diff` and `delete` with a real API server and KubeRay's custom resources, in this order.

The server is Kubernetes 1.20, the last that can be built of Debian's sources. It has no policy/v1 and knows no rules
within schemas (`x-kubernetes-validations`), so the PodDisruptionBudget and these are left out; and it takes an empty
default in a schema for null, so that these are "-" (none is used here). A PodMonitor is a kind of the Prometheus
operator, which is not there.
"""

import json
import os
import time
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from kubernetes import client, config
from typer.testing import CliRunner, Result

from serve_app.cli.commands import app
from serve_app.cluster.manifests import Manifest
from serve_app.cluster.render.image import with_image
from serve_app.cluster.render.overlay import render
from serve_app.cluster.settings import OVERLAYS, Overlay, Settings
from tests.cluster.overlays import CONFIGS, CRDS, ROOT, rendered
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.slow


def cascade(kubeconfig: Path, command: str, manifests: Path, *options: str) -> Result:
    words = ["k8s", command, str(manifests), "--kubeconfig", str(kubeconfig), *options]
    with patch.dict(os.environ, {"NO_PROXY": "127.0.0.1"}):
        return CliRunner().invoke(app, words)


def for_old_server(value: Any) -> Any:
    if isinstance(value, list):
        return [for_old_server(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: "-" if (key, item) == ("default", "") else for_old_server(item)
        for key, item in value.items()
        if key != "x-kubernetes-validations"
    }


def for_server(bodies: list[Manifest]) -> list[Manifest]:
    """Return the objects whose kinds the server knows, each with an image and a namespace, as kustomize gives them."""
    bodies = [with_image(deepcopy(body), "semantic-cascade:1") for body in bodies]
    for body in bodies:
        if body["kind"] != "Namespace":
            body["metadata"]["namespace"] = "cascade"
    return [body for body in bodies if body["kind"] not in {"PodDisruptionBudget", "PodMonitor"}]


def overlay() -> list[Manifest]:
    return for_server(rendered("cpu-demo").objects)


def write(path: Path, bodies: list[Manifest]) -> Path:
    path.write_text(yaml.dump_all(bodies, Dumper=yaml.CSafeDumper))
    return path


@pytest.fixture(scope="module")
def manifests(kubeconfig: Path) -> Path:
    """Write the overlay to a file, and let the server know KubeRay's kinds."""
    if not CRDS.is_dir():
        pytest.skip(f"needs KubeRay's CustomResourceDefinitions in {CRDS}")
    definitions = [
        for_old_server(yaml.load(file.read_text(), yaml.CSafeLoader)) for file in sorted(CRDS.glob("*.yaml"))
    ]
    path = write(kubeconfig.parent / "crds.yaml", definitions)
    applied = cascade(kubeconfig, "apply", path)
    assert applied.exit_code == 0, applied.stderr
    names = [body["metadata"]["name"] for body in definitions]
    assert applied.stdout == "".join(f"CustomResourceDefinition/{name} created\n" for name in sorted(names))
    path = write(kubeconfig.parent / "overlay.yaml", overlay())
    deadline = time.monotonic() + PATIENCE_S  # the server serves new kinds a few seconds later
    while "does not know RayService" in cascade(kubeconfig, "diff", path).stderr and time.monotonic() < deadline:
        time.sleep(0.5)
    return path


def test_a_diff_before_the_first_apply_tries_what_it_can(kubeconfig: Path, manifests: Path) -> None:
    ran = cascade(kubeconfig, "diff", manifests)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.startswith("warning: namespace cascade does not exist yet, so objects in it were not tried.\n")
    assert ran.stdout.count(" would be created\n") == len(overlay())


def test_everything_is_created_once(kubeconfig: Path, manifests: Path) -> None:
    ran = cascade(kubeconfig, "apply", manifests)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.count(" created\n") == len(overlay())
    again = cascade(kubeconfig, "apply", manifests)
    assert again.stdout.count(" unchanged\n") == len(overlay())
    assert cascade(kubeconfig, "diff", manifests).stdout == "Nothing would change.\n"


def test_a_threshold_changes_in_place(kubeconfig: Path, manifests: Path, tmp_path: Path) -> None:
    changed = write(
        tmp_path / "changed.yaml",
        json.loads(json.dumps(overlay()).replace("threshold: 0.7017", "threshold: 0.8")),
    )
    ran = cascade(kubeconfig, "diff", changed)
    lines = [line.strip() for line in ran.stdout.splitlines() if "threshold" in line]
    assert lines == ["-                  threshold: 0.7017", "+                  threshold: 0.8"] * 2
    applied = cascade(kubeconfig, "apply", changed).stdout.splitlines()
    assert [line for line in applied if line.endswith(" changed")] == [
        "ConfigMap/cascade-config changed",
        "RayService/cascade changed",
    ]


EVERYTHING = {
    "image_pull_secret": "registry",
    "pull_env": {"HTTPS_PROXY": "http://proxy:3128"},
    "pull_secret_env": {"S3_KEY": 443},
    "secret_env": ["MY_KEY"],
    "redis": {},
    "ingress": {
        "host": "a.example.com",
        "class_name": "nginx",
        "tls_secret": "certificate",
        "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "600"},
    },
    "monitoring": True,
    "monitoring_labels": {"release": "prometheus"},
    "ray_dashboard": {"prometheus": "http://prometheus:9090", "grafana": "http://grafana:3000"},
}
WITH_EVERYTHING = ("cpu-demo", Settings.model_validate(OVERLAYS["cpu-demo"].model_dump() | EVERYTHING))


@pytest.mark.parametrize(("name", "settings"), [*OVERLAYS.items(), WITH_EVERYTHING])
def test_every_object_of_every_overlay_is_taken(
    kubeconfig: Path, manifests: Path, tmp_path: Path, name: Overlay, settings: Settings
) -> None:
    """All of their fields are known, and none is refused by a rule of the server."""
    settings = settings.model_copy(update={"name": "tried"})
    bodies = for_server(render(ROOT / CONFIGS[name], name, settings).objects)
    ran = cascade(kubeconfig, "diff", write(tmp_path / "tried.yaml", bodies))
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.count(" would be created\n") == len(bodies) - 1  # all but the namespace
    assert "warning" not in ran.stdout + ran.stderr


def test_one_refusal_changes_nothing(kubeconfig: Path, manifests: Path, tmp_path: Path) -> None:
    bodies = overlay()
    for body in bodies:
        if body["kind"] == "ConfigMap":
            body["data"]["more"] = "1"
        if body["kind"] == "RayService":
            body["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["minReplicas"] = "many"
    ran = cascade(kubeconfig, "apply", write(tmp_path / "wrong.yaml", bodies))
    assert ran.exit_code == 1
    assert "The dry run was refused. Nothing was changed." in ran.stderr
    assert "RayService/cascade" in ran.stderr
    assert "minReplicas" in ran.stderr
    api = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
    assert list(api.read_namespaced_config_map("cascade-config", "cascade").data) == ["serve.yaml"]


def test_a_field_of_another_manager_is_named_and_can_be_taken(kubeconfig: Path, manifests: Path) -> None:
    api = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
    api.patch_namespaced_config_map(
        "cascade-config", "cascade", {"data": {"serve.yaml": "theirs"}}, field_manager="somebody"
    )
    ran = cascade(kubeconfig, "apply", manifests)
    assert ran.exit_code == 1
    assert ".data.serve.yaml is owned by 'somebody'. --force-conflicts" in ran.stderr
    assert cascade(kubeconfig, "apply", manifests, "--force-conflicts").exit_code == 0
    assert cascade(kubeconfig, "diff", manifests).stdout == "Nothing would change.\n"


def test_a_delete_keeps_the_namespace_and_the_models(kubeconfig: Path, manifests: Path) -> None:
    """No garbage collector runs, which a foreground deletion waits for: it is played between two deletes."""
    ran = cascade(kubeconfig, "delete", manifests, "--yes", "--timeout-s", "1")
    assert ran.exit_code == 1
    assert "RayService/cascade (held by foregroundDeletion)" in ran.stderr
    api = client.ApiClient(configuration=config.new_client_from_config(str(kubeconfig)).configuration)
    custom, core, batch = client.CustomObjectsApi(api), client.CoreV1Api(api), client.BatchV1Api(api)
    let_go = {"metadata": {"finalizers": None}}
    [job] = batch.list_namespaced_job("cascade").items
    core.patch_namespaced_config_map("cascade-config", "cascade", let_go)
    batch.patch_namespaced_job(job.metadata.name, "cascade", let_go)
    for policy in client.NetworkingV1Api(api).list_namespaced_network_policy("cascade").items:
        client.NetworkingV1Api(api).patch_namespaced_network_policy(policy.metadata.name, "cascade", let_go)
    custom.patch_namespaced_custom_object("ray.io", "v1", "cascade", "rayservices", "cascade", let_go)
    again = cascade(kubeconfig, "delete", manifests, "--yes", "--timeout-s", "1")
    assert again.exit_code == 0, again.stderr
    assert "PersistentVolumeClaim/cascade-models in cascade: stays" in again.stdout
    assert "Namespace/cascade: stays" in again.stdout
    assert again.stdout.count(": is absent\n") == len(overlay()) - 2
    assert again.stdout.endswith("There is nothing to delete.\n")
